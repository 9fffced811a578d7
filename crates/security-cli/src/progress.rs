//! Bars on stderr for work that takes a while.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// A bar, drawn only for a person at a terminal, wiped when it ends.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar over the bytes of an input; without a known size, a counter.
    pub(crate) fn of_bytes(output: &Output, name: &str, size: Option<u64>) -> Self {
        let template = match size {
            Some(_) => "{prefix} [{bar:30}] {bytes}/{total_bytes} {msg} {eta}",
            None => "{prefix} {spinner} {bytes} {msg}",
        };
        Self::new(output, name, size, template)
    }

    /// A bar over things of which `most` may come.
    pub(crate) fn of_things(output: &Output, name: &str, most: Option<u64>) -> Self {
        let template = match most {
            Some(_) => "{prefix} [{bar:30}] {pos}/{len} {msg}",
            None => "{prefix} {spinner} {pos} {msg}",
        };
        Self::new(output, name, most, template)
    }

    fn new(output: &Output, name: &str, length: Option<u64>, template: &str) -> Self {
        let target =
            if output.may_draw() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(length, target);
        let plain = match length {
            Some(_) => ProgressStyle::default_bar(),
            None => ProgressStyle::default_spinner(),
        };
        bar.set_style(
            plain.template(template).expect("the templates above are well formed").progress_chars("=> "),
        );
        bar.set_prefix(crate::escape::brief(name, 40));
        Self(bar)
    }

    /// The bar moves with what is read through the reader.
    pub(crate) fn reading<R: std::io::Read>(&self, reader: R) -> impl std::io::Read + use<R> {
        self.0.wrap_read(reader)
    }

    /// So many things are done.
    pub(crate) fn at(&self, done: usize) {
        self.0.set_position(done as u64);
    }

    /// A word beside the bar.
    pub(crate) fn say(&self, text: String) {
        self.0.set_message(text);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
