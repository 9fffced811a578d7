//! The crate `indicator-extractor` over one text, as its documentation shows it: seconds of CPU time, and how
//! many finds. Called by `benches/extractors.py`.

use cpu_time::ProcessTime;
use indicator_extractor::parser::extract_indicators;

fn main() {
    let path = std::env::args_os().nth(1).expect("a file's name");
    let text = std::fs::read(path).expect("the file is there");
    // As the Python peers: warm before it is timed, and the best of a few.
    let run = || {
        let began = ProcessTime::now();
        let (_, found) = extract_indicators(&text).expect("it reads every text");
        (began.elapsed().as_secs_f64(), found.len())
    };
    let best = (0..5).map(|_| run()).min_by(|a, b| a.0.total_cmp(&b.0)).expect("five runs");
    println!("{:.6}\t{}", best.0, best.1);
}
