//! Seeded runs that check the properties of [`fuzzing`](crate::fuzzing): reading any bytes returns a config, or errors that
//! can be rendered.
//!
//! A failure prints its seed; `FUZZ_SEED=... cargo test -p liveoak-config fuzz` runs it again.

use crate::env_file;
use crate::fuzzing::read_bytes;

const EXAMPLES: [&str; 2] = [
    include_str!("../../../liveoak-cli/tests/good/example.toml"),
    include_str!("../../../liveoak-cli/tests/good/everything.toml"),
];

/// Pieces that have a meaning somewhere in the file.
const PIECES: [&str; 24] = [
    "[",
    "]",
    "[[child.a]]",
    "\"",
    "'",
    "=",
    "{",
    "}",
    ".",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "é",
    "\u{1f600}",
    "child",
    "[child.db]\n",
    "0",
    "\"5s\"",
    "true",
    "1979-05-27",
    "#",
    "\\u0000",
    "\"\"\"",
];

/// A small generator (SplitMix64), so that a seed determines the whole run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).expect("below a usize")
    }

    /// A place in `text` between two characters.
    fn boundary(&mut self, text: &str) -> usize {
        let at = self.below(text.len() + 1);
        (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
    }
}

fn mutated(random: &mut Random) -> String {
    let mut text = EXAMPLES[random.below(EXAMPLES.len())].to_owned();
    for _ in 0..=random.below(6) {
        let (a, b) = (random.boundary(&text), random.boundary(&text));
        let (start, end) = (a.min(b), a.max(b).min(a.min(b) + 20));
        let end = (start..=end).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(start);
        match random.below(3) {
            0 => text.replace_range(start..end, ""),
            1 => text.insert_str(start, PIECES[random.below(PIECES.len())]),
            _ => {
                let copied = text[start..end].to_owned();
                let at = random.boundary(&text);
                text.insert_str(at, &copied);
            }
        }
    }
    text
}

fn noise(random: &mut Random) -> String {
    let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.next().to_le_bytes()[0]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn try_one(seed: u64) {
    let mut random = Random(seed);
    let text = if seed.is_multiple_of(8) { noise(&mut random) } else { mutated(&mut random) };
    let _is_good = read_bytes(text.as_bytes());
    env_file::EnvFile::parse(&text);
}

#[test]
fn fuzz_no_bytes_make_the_reader_panic() {
    let given = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = given.map_or(0..4000, |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| try_one(seed)) {
            println!("again with: FUZZ_SEED={seed} cargo test -p liveoak-config fuzz");
            std::panic::resume_unwind(panic);
        }
    }
}
