//! How fast own tokens are found, in MB/s of one core: `cargo bench -p security-credentials`.
//!
//! Every figure is the best of several rounds, because a shared machine only ever slows a round down.

#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

use std::{hint::black_box, time::Instant};

use security_core::Entropy;
use security_credentials::{Token, TokenScanner};

const ROUNDS: usize = 7;
const SIZE: usize = 32 << 20;

struct Steps(u8);

impl Entropy for Steps {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_mul(141).wrapping_add(91);
            *byte = self.0;
        }
    }
}

fn main() {
    let token = Token::generate("sk", &mut Steps(1)).expect("a prefix");
    let token = token.secret.expose_text().expect("ASCII").to_owned();
    // The shape of a token with a wrong checksum: all prefixes are tried.
    let near = format!("abcdefghij012345{}0\n", &token[2..token.len() - 1]);
    let log =
        "2026-11-24T08:30:12.004Z INFO request finished status=200 bytes=5120 duration_ms=12.4 cache=miss\n";
    let code = "    let key_table_of_store = self.files.store.key_table_path().map(|found_table| found_table.clone());\n";
    let texts = [
        ("logs", log.to_owned()),
        ("code", code.to_owned()),
        ("a token in 10 kB of logs", format!("{}{token}\n", log.repeat(100))),
        ("only underscores", "_".into()),
        ("only tokens", format!("{token}\n")),
        ("only wrong tokens", near),
    ];
    println!("{:<26} {:>8}", "text", "MB/s");
    for (name, piece) in texts {
        let text = piece.repeat(SIZE / piece.len());
        let best = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            let (mut scanner, mut found) = (TokenScanner::default(), 0);
            for piece in text.as_bytes().chunks(TokenScanner::PIECE) {
                scanner.feed(black_box(piece), &mut |_, _| found += 1);
            }
            black_box(found);
            start.elapsed()
        });
        let best = best.min().expect("there are rounds");
        println!("{name:<26} {:>8.0}", text.len() as f64 / best.as_secs_f64() / 1e6);
    }
}
