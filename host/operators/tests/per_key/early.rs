//! Results before a window is complete, and corrections at once.
