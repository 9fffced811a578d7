#![allow(missing_docs)]
use security_core::Limits;
#[test]
fn real() {
    for path in std::env::var("STIX_FILES").unwrap().split(':') {
        let text = std::fs::read(path).unwrap();
        let now = std::time::Instant::now();
        match security_stix::Bundle::parse(&text, Limits::DEFAULT) {
            Err(error) => println!("{path}: {error}"),
            Ok(bundle) => {
                let mut bad = 0;
                let mut simple = 0;
                let mut n = 0;
                for o in bundle.objects() {
                    match o.pattern() { Some(Ok(p)) => { n += 1; simple += usize::from(p.is_simple()) }, Some(Err(e)) => { bad += 1; println!("  {} {e}", o.text("pattern").unwrap()) }, None => {} }
                }
                if !bundle.rejected().is_empty() || bad > 0 || n != simple || text.len() > 1_000_000 {
                println!("{path}: {} objects, {} rejected, {n} patterns {simple} simple, {bad} bad, {:?}", bundle.objects().len(), bundle.rejected().len(), now.elapsed()); }
                for r in bundle.rejected().iter().take(8) { println!("   {} {:?} {}", r.index, r.id, r.reason); }
            }
        }
    }
}
