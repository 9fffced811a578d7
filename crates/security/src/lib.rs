//! The door: use cases and wiring of the security engine.
