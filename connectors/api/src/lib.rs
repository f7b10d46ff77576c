//! What a connector implements, the formats, and the conformance suite.
