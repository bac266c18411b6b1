//! Reads Rust as far as the rules need it: blanks comments and strings, and cuts the other text into tokens.

/// A word, a number, `::`, or one other character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// The line number, counted from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Returns the same text with comments and the contents of strings and characters replaced by spaces. Line breaks stay.
pub(crate) fn mask(source: &str) -> String {
    let mut masker = Masker { source: source.as_bytes(), at: 0, out: source.as_bytes().to_vec() };
    masker.run();
    // Only whole characters were blanked, so the rest is UTF-8.
    String::from_utf8(masker.out).unwrap()
}

struct Masker<'a> {
    source: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

impl Masker<'_> {
    fn run(&mut self) {
        while self.at < self.source.len() {
            let rest = &self.source[self.at..];
            match rest {
                [b'/', b'/', ..] => self.blank_to(line_end(rest)),
                [b'/', b'*', ..] => self.blank_to(comment_end(rest)),
                [b'"', ..] => self.string(),
                [b'\'', ..] => self.quote(),
                [byte, ..] if is_word_byte(*byte) => self.word(),
                _ => self.at += 1,
            }
        }
    }

    /// Blanks the next `count` bytes and moves to the byte after them.
    fn blank_to(&mut self, count: usize) {
        let end = (self.at + count).min(self.out.len());
        for byte in &mut self.out[self.at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        self.at = end;
    }

    /// Reads an identifier, a number, or the prefix of a string: `b""`, `c""`, `r#""#` and similar.
    fn word(&mut self) {
        let rest = &self.source[self.at..];
        let length = rest.iter().take_while(|&&byte| is_word_byte(byte)).count();
        let (word, after) = rest.split_at(length);
        self.at += length;
        let hashes = after.iter().take_while(|&&byte| byte == b'#').count();
        if matches!(word, b"r" | b"br" | b"cr") && after.get(hashes) == Some(&b'"') {
            self.raw_string(hashes);
        }
    }

    fn raw_string(&mut self, hashes: usize) {
        self.at += hashes + 1;
        let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
        let rest = &self.source[self.at..];
        let end = rest.windows(close.len()).position(|window| window == close).unwrap_or(rest.len());
        self.blank_to(end);
        self.at += close.len();
    }

    fn string(&mut self) {
        self.at += 1;
        self.blank_to(quoted_length(&self.source[self.at..], b'"'));
        self.at += 1;
    }

    /// Reads a character, or a lifetime, which has no second quote.
    fn quote(&mut self) {
        self.at += 1;
        let rest = &self.source[self.at..];
        let character = rest.iter().skip(1).take_while(|&&byte| byte & 0xC0 == 0x80).count() + 1;
        if rest.first() == Some(&b'\\') || rest.get(character) == Some(&b'\'') {
            self.blank_to(quoted_length(rest, b'\''));
            self.at += 1;
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn line_end(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
}

/// Returns the length of the block comment. Block comments nest.
fn comment_end(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Returns the number of bytes before the closing quote.
fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at.min(rest.len())
}

/// Cuts masked text into tokens.
pub(crate) fn tokens(masked: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, text) in masked.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(&first) = rest.as_bytes().first() {
            let length = if is_word_byte(first) {
                rest.bytes().take_while(|&byte| is_word_byte(byte)).count()
            } else if rest.starts_with("::") {
                2
            } else {
                1
            };
            let (token, after) = rest.split_at(length);
            tokens.push(Token { text: token, line: index + 1 });
            rest = after.trim_start();
        }
    }
    tokens
}

/// Returns `true` if the tokens from `at` on begin with these texts.
pub(crate) fn begins(tokens: &[Token<'_>], at: usize, texts: &[&str]) -> bool {
    tokens
        .get(at..at + texts.len())
        .is_some_and(|found| found.iter().zip(texts).all(|(token, text)| token.text == *text))
}

/// Returns the index after the bracket that closes the bracket at `open`.
pub(crate) fn after_group(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// Returns the index after the attribute that begins at `at`, or `None` if there is no attribute.
pub(crate) fn after_attribute(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    if begins(tokens, at, &["#", "["]) {
        Some(after_group(tokens, at + 1))
    } else if begins(tokens, at, &["#", "!", "["]) {
        Some(after_group(tokens, at + 2))
    } else {
        None
    }
}

/// Returns the tokens without the items that exist only in tests, such as items under `#[cfg(test)]` or `#[test]`.
pub(crate) fn outside_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match after_attribute(tokens, at) {
            Some(end) if is_test_attribute(&tokens[at..end]) => {
                // An inner attribute applies to the whole file.
                at = if tokens[at + 1].text == "!" { tokens.len() } else { after_item(tokens, end) };
            }
            Some(end) => {
                kept.extend_from_slice(&tokens[at..end]);
                at = end;
            }
            None => {
                kept.push(tokens[at]);
                at += 1;
            }
        }
    }
    kept
}

/// Returns `true` for `#[test]`, `#[tokio::test(…)]`, `#[cfg(test)]` and `#[cfg(all(test, …))]`, but not for
/// `#[cfg(not(test))]`.
pub(crate) fn is_test_attribute(attribute: &[Token<'_>]) -> bool {
    let has = |word: &str| attribute.iter().any(|token| token.text == word);
    has("test") && !has("not") && !has("cfg_attr") && !has("feature")
}

/// Returns the name of the test whose attribute begins at `at`.
pub(crate) fn test_at<'a>(tokens: &[Token<'a>], at: usize) -> Option<Token<'a>> {
    let mut end = after_attribute(tokens, at)?;
    let attribute = &tokens[at..end];
    if !is_test_attribute(attribute) || attribute.iter().any(|token| token.text == "cfg") {
        return None;
    }
    while let Some(next) = after_attribute(tokens, end) {
        end = next;
    }
    let rest = &tokens[end..];
    let function = rest.iter().take(2).position(|token| token.text == "fn")?;
    rest.get(function + 1).copied()
}

/// Returns the index after the item at `at`: after its braces or its semicolon. The item may begin with attributes.
fn after_item(tokens: &[Token<'_>], mut at: usize) -> usize {
    while let Some(end) = after_attribute(tokens, at) {
        at = end;
    }
    while at < tokens.len() {
        match tokens[at].text {
            "{" => return after_group(tokens, at),
            ";" => return at + 1,
            "}" => return at,
            "(" | "[" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

#[test]
fn comments_strings_and_characters_are_blanked_and_lines_kept() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */\n d */ e", "a             \n      e"),
        (r#"f("b // c") // d"#, r#"f("      ")     "#),
        (r#"f("b \" c", d)"#, r#"f("      ", d)"#),
        ("f(r#\"b \" c\"#, d)", "f(r#\"     \"#, d)"),
        ("f(br\"b\\\", d)", "f(br\"  \", d)"),
        ("f('\"', '\\'', 'ä', b'x')", "f(' ', '  ', '  ', b' ')"),
        ("f::<'a>(&'static b)", "f::<'a>(&'static b)"),
        ("r#type = 'x'", "r#type = ' '"),
    ];
    for (source, masked) in cases {
        assert_eq!(mask(source), masked, "{source}");
    }
}

#[test]
fn a_line_is_cut_into_words_paths_and_single_characters() {
    let masked = mask("let x: a::b<'c> = d1.e(\"f\");\n  g");
    let found: Vec<&str> = tokens(&masked).iter().map(|token| token.text).collect();
    let line = [
        "let", "x", ":", "a", "::", "b", "<", "'", "c", ">", "=", "d1", ".", "e", "(", "\"", "\"", ")", ";",
        "g",
    ];
    assert_eq!(found, line);
    assert_eq!(tokens(&masked).last().unwrap().line, 2);
}

#[test]
fn items_of_tests_are_left_out() {
    let source = "use a;\n#[cfg(test)]\nmod tests { fn b() { c } }\n#[cfg(not(test))] use d;\n#[test]\n#[ignore]\nfn e() {}\n#[derive(F)]\n#[cfg(test)] use g::h;\nstruct I;";
    let masked = mask(source);
    let kept: String = outside_tests(&tokens(&masked)).iter().map(|token| token.text).collect();
    assert_eq!(kept, "usea;#[cfg(not(test))]used;#[derive(F)]structI;");
}
