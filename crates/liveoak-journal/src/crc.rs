//! CRC-32C (Castagnoli), eight bytes at a time.

/// The polynomial, with its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// `TABLES[k][byte]` is the remainder of `byte` followed by `k` zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { (rest >> 1) ^ POLYNOMIAL } else { rest >> 1 };
            bit += 1;
        }
        tables[0][byte] = rest;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// A checksum that is computed piece by piece.
#[derive(Clone, Copy)]
pub(crate) struct Crc(u32);

impl Crc {
    /// Begins a checksum. Different seeds give different checksums of the same bytes.
    pub(crate) fn new(seed: u32) -> Crc {
        Crc(!seed)
    }

    /// Adds bytes to the checksum.
    pub(crate) fn add(self, bytes: &[u8]) -> Crc {
        let mut rest = self.0;
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            let [a, b, c, d] =
                (rest ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]])).to_le_bytes();
            let [e, f, g, h] = [word[4], word[5], word[6], word[7]];
            rest = TABLES[7][usize::from(a)]
                ^ TABLES[6][usize::from(b)]
                ^ TABLES[5][usize::from(c)]
                ^ TABLES[4][usize::from(d)]
                ^ TABLES[3][usize::from(e)]
                ^ TABLES[2][usize::from(f)]
                ^ TABLES[1][usize::from(g)]
                ^ TABLES[0][usize::from(h)];
        }
        for byte in tail {
            let [low, ..] = rest.to_le_bytes();
            rest = (rest >> 8) ^ TABLES[0][usize::from(low ^ byte)];
        }
        Crc(rest)
    }

    /// Returns the checksum.
    pub(crate) fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(Crc::new(0).add(b"123456789").value(), 0xE306_9283);
        // From RFC 3720, appendix B.4.
        assert_eq!(Crc::new(0).add(&[0; 32]).value(), 0x8A91_36AA);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(Crc::new(0).add(&rising).value(), 0x46DD_794E);
    }

    #[test]
    fn pieces_of_any_length_give_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..100).collect();
        let whole = Crc::new(7).add(&bytes).value();
        for cut in 0..bytes.len() {
            assert_eq!(Crc::new(7).add(&bytes[..cut]).add(&bytes[cut..]).value(), whole, "cut at {cut}");
        }
        assert_ne!(Crc::new(8).add(&bytes).value(), whole);
    }
}
