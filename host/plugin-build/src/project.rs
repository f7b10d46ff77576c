//! Writes a project to start from.
