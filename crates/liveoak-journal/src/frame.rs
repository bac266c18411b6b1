//! The form of one record in a file: `CHECKSUM LENGTH PAYLOAD`, followed by a line break.
//!
//! Checksum and length have eight hexadecimal digits each. So a file can be read with ordinary tools, as one record a line
//! (a payload with line breaks takes several). The rules of reading:
//!
//! 1. The length says where a payload ends, so a payload may consist of any bytes.
//! 2. The checksum covers the length, the payload, the offset of the frame, and a number that only this file has (the
//!    salt). So no payload can pass for a frame, and a frame that was written to a wrong place is not read.
//! 3. After damage, reading continues behind the next line break. So a changed byte costs one record, not its neighbours.
//! 4. A frame that ends beyond the end of the file is unfinished: its writer still writes it, or was killed.

use crate::crc::Crc;

/// The bytes of a frame beside its payload.
pub(crate) const OVERHEAD: usize = HEAD + 1;
/// The bytes before the payload.
const HEAD: usize = 18;
/// The longest payload that a reader believes in. A longer length is damage.
pub(crate) const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Step<'a> {
    /// A frame that occupies `size` bytes.
    Frame { payload: &'a [u8], size: usize },
    /// Bytes that are no frame, up to where the next frame may begin.
    Damage { size: usize },
    /// A line break of its own, which is not damage.
    Blank,
    /// More bytes are needed. At the end of a file: an unfinished frame, or other bytes without a line break.
    Unfinished,
}

/// Appends a frame to `out` that will stand at `offset` of the file with this salt.
pub(crate) fn push(out: &mut Vec<u8>, salt: u32, offset: u64, payload: &[u8]) {
    let length = hex(payload.len() as u32);
    out.extend(hex(checksum(salt, offset, &length, payload)));
    out.push(b' ');
    out.extend(length);
    out.push(b' ');
    out.extend(payload);
    out.push(b'\n');
}

/// Reads what stands at `offset`. With `end`, the file has no bytes beyond these.
pub(crate) fn next(bytes: &[u8], salt: u32, offset: u64, end: bool) -> Step<'_> {
    if bytes.first() == Some(&b'\n') {
        return Step::Blank;
    }
    let Some(length) = head(bytes) else {
        return if bytes.len() < HEAD { short(bytes, end) } else { skip(bytes, end) };
    };
    match whole(bytes, length, salt, offset) {
        Some(step) => step,
        None if bytes.len() >= HEAD + length => skip(bytes, end),
        // The length may be wrong: then whole frames stand behind a later line break.
        None if end => {
            later_frame(bytes, salt, offset).map_or(Step::Unfinished, |size| Step::Damage { size })
        }
        None => Step::Unfinished,
    }
}

/// Reads fewer bytes than a head has. Reading can continue behind a line break.
fn short(bytes: &[u8], end: bool) -> Step<'_> {
    if end && bytes.contains(&b'\n') { skip(bytes, end) } else { Step::Unfinished }
}

/// Returns the damage up to the next line break.
fn skip(bytes: &[u8], end: bool) -> Step<'_> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => Step::Damage { size: at + 1 },
        // At the end, a writer may still overwrite these bytes.
        None if end => Step::Unfinished,
        None => Step::Damage { size: bytes.len() },
    }
}

/// Returns the distance to the first whole frame behind a line break.
fn later_frame(bytes: &[u8], salt: u32, offset: u64) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        from += at + 1;
        let rest = &bytes[from..];
        if head(rest).is_some_and(|length| whole(rest, length, salt, offset + from as u64).is_some()) {
            return Some(from);
        }
    }
    None
}

/// Returns the frame if all of its payload is there and the checksum is right.
fn whole(bytes: &[u8], length: usize, salt: u32, offset: u64) -> Option<Step<'_>> {
    let payload = bytes.get(HEAD..HEAD + length)?;
    let wanted = number(&bytes[..8])?;
    // The line break behind the payload is not covered: one that is missing or changed costs nothing.
    let size = (HEAD + length + 1).min(bytes.len());
    (checksum(salt, offset, &bytes[9..17], payload) == wanted).then_some(Step::Frame { payload, size })
}

/// Returns the length that a well-formed head names.
fn head(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..HEAD)?;
    number(&head[..8])?;
    let length = number(&head[9..17])? as usize;
    (head[8] == b' ' && head[17] == b' ' && length <= MAX_PAYLOAD).then_some(length)
}

fn checksum(salt: u32, offset: u64, length: &[u8], payload: &[u8]) -> u32 {
    Crc::new(salt).add(&offset.to_le_bytes()).add(length).add(payload).value()
}

/// Returns a number as eight hexadecimal digits.
fn hex(number: u32) -> [u8; 8] {
    let digit = |at: u32| b"0123456789abcdef"[(number >> (28 - 4 * at) & 15) as usize];
    [0, 1, 2, 3, 4, 5, 6, 7].map(digit)
}

/// Reads eight small hexadecimal digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number: u32, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u32::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u32 = 0x1234_5678;

    fn file(payloads: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for payload in payloads {
            let offset = file.len() as u64;
            push(&mut file, SALT, offset, payload);
        }
        file
    }

    /// Returns the payloads that can be read, and the number of bytes that were skipped or are unfinished.
    fn read(file: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let (mut at, mut payloads, mut lost) = (0, Vec::new(), 0);
        while at < file.len() {
            match next(&file[at..], SALT, at as u64, true) {
                Step::Frame { payload, size } => {
                    payloads.push(payload.to_vec());
                    at += size;
                }
                Step::Damage { size } => (at, lost) = (at + size, lost + size),
                Step::Blank => at += 1,
                Step::Unfinished => return (payloads, lost + file.len() - at),
            }
        }
        (payloads, lost)
    }

    const PAYLOADS: [&[u8]; 5] = [b"first", b"", b"two\nlines\n", b"\0\xff bytes", b"last"];

    #[test]
    fn a_frame_is_a_line_that_people_can_read() {
        let file = file(&[b"E\t1 started"]);
        assert!(file.ends_with(b" 0000000b E\t1 started\n"), "{}", String::from_utf8_lossy(&file));
        assert_eq!(file.len(), OVERHEAD + 11);
    }

    #[test]
    fn payloads_of_any_bytes_are_read_as_they_were_written() {
        assert_eq!(read(&file(&PAYLOADS)), (PAYLOADS.map(<[u8]>::to_vec).to_vec(), 0));
    }

    #[test]
    fn a_file_that_is_cut_at_any_byte_keeps_all_whole_frames() {
        let file = file(&PAYLOADS);
        let ends: Vec<usize> = (1..=5).map(|count| self::file(&PAYLOADS[..count]).len()).collect();
        for cut in 0..file.len() {
            // The line break at the end of a frame may be missing.
            let whole = ends.iter().filter(|end| **end <= cut + 1).count();
            assert_eq!(read(&file[..cut]).0.len(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_byte_costs_at_most_its_own_record() {
        let file = file(&PAYLOADS);
        for at in 0..file.len() {
            for change in [1, 0x20, 0x80, file[at] ^ b'\n', file[at] ^ b'0', file[at] ^ b'f', file[at]] {
                let mut changed = file.clone();
                changed[at] ^= change;
                let (payloads, _) = read(&changed);
                assert!(payloads.len() >= PAYLOADS.len() - 1, "{change:#x} at {at}: {payloads:?}");
                assert!(payloads.iter().all(|found| PAYLOADS.contains(&found.as_slice())));
            }
        }
    }

    #[test]
    fn a_payload_that_looks_like_frames_is_never_read_as_frames() {
        let inner = file(&[b"forged", b"forged too"]);
        let mut file = file(&[b"a", &inner, b"b"]);
        let at = file.windows(6).position(|window| window == b"forged").unwrap();
        file[at - 20] ^= 1;
        let (payloads, lost) = read(&file);
        assert_eq!(payloads, [b"a", b"b"]);
        assert!(lost > inner.len());
    }

    #[test]
    fn zeros_at_the_end_are_unfinished_and_zeros_in_the_middle_are_skipped() {
        let whole = file(&PAYLOADS);
        let mut tail = whole.clone();
        tail.extend([0; 5000]);
        assert_eq!(read(&tail), (PAYLOADS.map(<[u8]>::to_vec).to_vec(), 5000));
        let mut middle = file(&[b"a"]);
        middle.extend([0; 100]);
        middle.push(b'\n');
        let offset = middle.len() as u64;
        push(&mut middle, SALT, offset, b"b");
        assert_eq!(read(&middle), (vec![b"a".to_vec(), b"b".to_vec()], 101));
    }

    #[test]
    fn a_frame_that_is_not_all_there_asks_for_more_bytes() {
        let file = file(&[b"payload"]);
        for cut in 0..file.len() - 1 {
            assert_eq!(next(&file[..cut], SALT, 0, false), Step::Unfinished, "cut at {cut}");
        }
        let frame = Step::Frame { payload: b"payload", size: file.len() };
        assert_eq!(next(&file, SALT, 0, false), frame);
        assert!(matches!(next(&file, SALT, 1, true), Step::Damage { .. }), "a frame belongs to its offset");
    }
}
