//! The Python face: translates, decides nothing.
