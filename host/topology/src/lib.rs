//! From a topology file to a plan; every problem is a diagnostic with a source span.
