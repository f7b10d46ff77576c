//! Finds the toolchain for a plugin's language and makes its component.
