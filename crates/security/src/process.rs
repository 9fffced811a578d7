//! The one engine of a process: opened at first use, opened anew in a child after `fork`.
//!
//! **Why so careful:** a child inherits the parent's memory but only the forking thread. Locks that other
//! threads held stay held for ever, SQLite's table of file locks speaks of the parent, and the journal's
//! writer is gone. So the parent's files are closed before every fork (`crate::fork`), and a child never
//! touches its parent's engine: it leaks it and opens its own.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::{Engine, Options, Result, fork::GenerationLock};

static CURRENT: ArcSwapOption<Engine> = ArcSwapOption::const_empty();

/// Held by who opens or replaces the engine.
static OPENING: GenerationLock = GenerationLock::new();

/// Sets the engine up. Without options and with an engine already open it does nothing; with options that
/// differ, the new engine takes the old one's place and the old one is flushed and closed.
/// # Errors
/// Whatever keeps the data directory, the store or the configuration from being used.
pub fn initialize(options: Options) -> Result<Arc<Engine>> {
    let generation = security_shared::fork::generation();
    let _opening = OPENING.turn();
    let asks_nothing_new = |engine: &Engine| options == Options::default() || options == *engine.options();
    let engine = match opened_in(generation) {
        Ok(engine) if asks_nothing_new(&engine) => return Ok(engine),
        Err(Some(inherited)) if asks_nothing_new(&inherited) => Engine::open_like(&inherited)?,
        _ => Engine::open(options)?,
    };
    let engine = Arc::new(engine);
    replace(Some(engine.clone()), generation);
    Ok(engine)
}

/// The engine of this process; opened with the defaults at the first use.
/// # Errors
/// As [`initialize`].
pub fn current() -> Result<Arc<Engine>> {
    let generation = security_shared::fork::generation();
    if let Ok(engine) = opened_in(generation) {
        return Ok(engine);
    }
    let _opening = OPENING.turn();
    let engine = match opened_in(generation) {
        Ok(engine) => return Ok(engine),
        Err(Some(inherited)) => Engine::open_like(&inherited)?,
        Err(None) => Engine::open(Options::default())?,
    };
    let engine = Arc::new(engine);
    replace(Some(engine.clone()), generation);
    Ok(engine)
}

/// The engine of this process, or else the one that it inherited from its parent, if any.
fn opened_in(generation: u64) -> std::result::Result<Arc<Engine>, Option<Inherited>> {
    match CURRENT.load_full() {
        Some(engine) if engine.generation() == generation => Ok(engine),
        inherited => Err(inherited.map(Inherited::new)),
    }
}

/// A parent's engine in a child. Its configuration may be read; it is never dropped, as that would touch the
/// parent's files.
type Inherited = std::mem::ManuallyDrop<Arc<Engine>>;

/// The engine if one is open in this process.
pub fn opened() -> Option<Arc<Engine>> {
    opened_in(security_shared::fork::generation()).ok()
}

/// Flushes and closes the engine; the next use opens it again.
/// # Errors
/// When buffered records cannot be written; the engine is closed all the same.
pub fn close() -> Result<()> {
    let generation = security_shared::fork::generation();
    let _opening = OPENING.turn();
    let Some(engine) = opened() else { return Ok(()) };
    replace(None, generation);
    engine.shut_down()
}

fn replace(engine: Option<Arc<Engine>>, generation: u64) {
    if let Some(old) = CURRENT.swap(engine) {
        if old.generation() == generation {
            // What is still buffered belongs on disk; the files close with the last user.
            if let Err(error) = old.flush() {
                tracing::warn!(%error, "records of the engine being replaced could not be written");
            }
        } else {
            std::mem::forget(old);
        }
    }
}
