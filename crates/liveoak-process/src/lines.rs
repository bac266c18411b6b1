//! Splits bytes into lines of bounded length.
//!
//! [`Lines`] holds at most [`MAX_LINE`] bytes and passes longer lines on in pieces, so that memory stays bounded. A line
//! ends with `\n`, `\r\n` or `\r`: progress bars write one state after the other with a lone `\r` between them.

use std::borrow::Cow;

/// The longest piece of a line that is passed on, in bytes as written by the program. Each byte that is not UTF-8 becomes
/// the three bytes of `U+FFFD`, so the text of a piece is at most three times as long.
pub const MAX_LINE: usize = 16 * 1024;

/// The longest UTF-8 sequence. A cut moves back by less than this, so that it does not split a character.
const MAX_CHAR: usize = 4;

/// A whole line, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) text: &'a str,
    /// `true` if the line continues in the next piece.
    pub(crate) continued: bool,
    /// `true` if an earlier piece of the same line was passed on.
    pub(crate) continues: bool,
}

/// Splits a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The current line so far: at most `MAX_LINE` bytes.
    held: Vec<u8>,
    /// `true` if a piece of the current line was passed on already.
    in_pieces: bool,
    /// `true` if the last line ended with `\r`. A `\n` that follows immediately belongs to it.
    after_return: bool,
}

impl Lines {
    /// Takes more bytes. Calls `emit` for each complete line or piece.
    pub(crate) fn push(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(Piece<'_>)) {
        while let Some(&first) = bytes.first() {
            if first == b'\n' && std::mem::take(&mut self.after_return) {
                bytes = &bytes[1..];
                continue;
            }
            let room = MAX_LINE - self.held.len();
            let end = bytes.iter().take(room + 1).position(|&byte| byte == b'\n' || byte == b'\r');
            let taken = &bytes[..end.unwrap_or(bytes.len().min(room))];
            self.after_return &= taken.is_empty();
            self.held.extend_from_slice(taken);
            match end {
                Some(end) => {
                    if bytes[end] == b'\n' {
                        self.end_line(emit);
                    } else if self.has_begun() {
                        self.end_line(emit);
                        self.after_return = true;
                    }
                    bytes = &bytes[end + 1..];
                }
                None if bytes.len() <= room => return,
                None => {
                    bytes = &bytes[room..];
                    self.cut(emit);
                }
            }
        }
    }

    /// Returns `true` if there is text that was not passed on, because its line has not ended yet.
    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Passes on what is held, except a character at its end that is not complete yet. The line continues with the next
    /// bytes.
    pub(crate) fn cut(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        let end = self.held.len() - unfinished_char(&self.held);
        if end == 0 {
            return;
        }
        emit(Piece { text: &text(&self.held[..end]), continued: true, continues: self.in_pieces });
        self.held.drain(..end);
        self.in_pieces = true;
    }

    /// Ends the stream. A last line without a newline is passed on as a line.
    pub(crate) fn finish(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        if self.has_begun() {
            self.end_line(emit);
        }
    }

    fn has_begun(&self) -> bool {
        self.in_pieces || !self.held.is_empty()
    }

    fn end_line(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        emit(Piece { text: &text(&self.held), continued: false, continues: self.in_pieces });
        self.held.clear();
        self.in_pieces = false;
    }
}

/// Returns how many bytes at the end are the beginning of an incomplete character.
fn unfinished_char(bytes: &[u8]) -> usize {
    for back in 1..MAX_CHAR.min(bytes.len() + 1) {
        let width = match bytes[bytes.len() - back] {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            0b1000_0000..=0b1011_1111 => continue,
            _ => return 0,
        };
        return if width > back { back } else { 0 };
    }
    0
}

/// Returns the bytes as UTF-8 without NUL bytes. Other control bytes, such as colours, are kept.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut emit = |piece: Piece<'_>| seen.push((piece.text.to_owned(), piece.continued));
        for chunk in chunks {
            lines.push(chunk, &mut emit);
            assert!(lines.held.len() <= MAX_LINE);
        }
        lines.finish(&mut emit);
        seen
    }

    fn whole(texts: &[&str]) -> Vec<(String, bool)> {
        texts.iter().map(|&text| (text.to_owned(), false)).collect()
    }

    #[test]
    fn lines_do_not_depend_on_the_size_of_the_writes() {
        let stream = "one\r\ntwo\n\nthrée x\n\r\n\r\nlast".as_bytes();
        let expected = whole(&["one", "two", "", "thrée x", "", "", "last"]);
        assert_eq!(lines_of(&[stream]), expected);
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(lines_of(&single), expected);
    }

    #[test]
    fn a_lone_carriage_return_ends_a_line_and_makes_no_empty_one() {
        for (stream, expected) in [
            ("1 of 2\r2 of 2\r\ndone\n", &["1 of 2", "2 of 2", "done"][..]),
            ("\r1 of 2\r\r2 of 2\n", &["1 of 2", "2 of 2"]),
            ("text\r\r\nnext\r\n\r\nlast", &["text", "next", "", "last"]),
            ("bar\r\n\nafter a blank line\r", &["bar", "", "after a blank line"]),
            ("\r\r", &[]),
        ] {
            for size in 1..=stream.len() {
                let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
                assert_eq!(lines_of(&chunks), whole(expected), "{stream:?} in chunks of {size}");
            }
        }
    }

    #[test]
    fn a_line_that_was_cut_before_its_end_continues_in_further_pieces() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        let mut emit =
            |piece: Piece<'_>| seen.push((piece.text.to_owned(), piece.continued, piece.continues));
        lines.cut(&mut emit);
        lines.push("wait… caf\u{e9}".as_bytes().split_last().expect("bytes").1, &mut emit);
        assert!(lines.has_held());
        lines.cut(&mut emit);
        lines.push(b"\xa9\n", &mut emit);
        lines.push(b"prompt: ", &mut emit);
        lines.cut(&mut emit);
        lines.push(b"\r\nnext\n", &mut emit);
        assert!(!lines.has_held());
        let expected = [
            ("wait… caf", true, false),
            ("\u{e9}", false, true),
            ("prompt: ", true, false),
            ("", false, true),
            ("next", false, false),
        ];
        assert_eq!(
            seen,
            expected.map(|(text, continued, continues)| (text.to_owned(), continued, continues))
        );
    }

    #[test]
    fn an_empty_stream_has_no_line_and_a_single_newline_is_one_empty_line() {
        assert_eq!(lines_of(&[b""]), whole(&[]));
        assert_eq!(lines_of(&[b"\n"]), whole(&[""]));
    }

    #[test]
    fn a_line_of_exactly_the_bound_is_not_cut() {
        let text = "x".repeat(MAX_LINE);
        assert_eq!(lines_of(&[text.as_bytes(), b"\n"]), whole(&[&text]));
        assert_eq!(lines_of(&[format!("{text}\n").as_bytes()]), whole(&[&text]));
    }

    #[test]
    fn a_longer_line_comes_in_pieces_and_nothing_is_lost() {
        let text = "é".repeat(MAX_LINE * 2);
        let text = format!("x{text}");
        for size in [1, 1000, MAX_LINE, text.len()] {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let pieces = lines_of(&chunks);
            assert!(pieces.len() >= 4 && pieces.iter().rev().skip(1).all(|(_, continued)| *continued));
            assert!(!pieces.last().unwrap().1);
            let joined: String = pieces.into_iter().map(|(piece, _)| piece).collect();
            assert!(joined == text, "cut through a character with chunks of {size}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced_and_nul_is_dropped() {
        assert_eq!(lines_of(&[b"a\xff\xfeb\0c\n"]), whole(&["a\u{fffd}\u{fffd}bc"]));
        let garbage = vec![0xc3; MAX_LINE * 2];
        assert_eq!(lines_of(&[&garbage]).len(), 3);
    }
}
