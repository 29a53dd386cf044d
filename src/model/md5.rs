//! MD5 (RFC 1321), for the one place where Prometheus needs it: `hashmod`. Not for secrets.

/// How far each round turns the sum left (RFC 1321, 3.4): four amounts a round, repeated.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The digest of a text.
pub(super) fn md5(text: &[u8]) -> [u8; 16] {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let constants = sine_constants();
    // One bit that is set, zeros up to 8 bytes before a whole block, then the length in bits.
    let mut padded = text.to_vec();
    padded.push(0x80);
    let length = (text.len() as u64).wrapping_mul(8);
    padded.resize(padded.len() + (120 - padded.len() % 64) % 64, 0);
    padded.extend_from_slice(&length.to_le_bytes());
    for block in padded.chunks_exact(64) {
        add_block(&mut state, block, &constants);
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// `floor(2^32 · |sin(i + 1)|)`: how RFC 1321 defines its table.
fn sine_constants() -> [u32; 64] {
    std::array::from_fn(|at| (((at + 1) as f64).sin().abs() * 4_294_967_296.0) as u32)
}

fn add_block(state: &mut [u32; 4], block: &[u8], constants: &[u32; 64]) {
    let word = |at: usize| {
        let bytes = &block[4 * at..4 * at + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    };
    let [mut a, mut b, mut c, mut d] = *state;
    for at in 0..64 {
        let (mixed, from) = match at / 16 {
            0 => ((b & c) | (!b & d), at),
            1 => ((d & b) | (!d & c), (5 * at + 1) % 16),
            2 => (b ^ c ^ d, (3 * at + 5) % 16),
            _ => (c ^ (b | !d), (7 * at) % 16),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(constants[at]).wrapping_add(word(from));
        let turned = b.wrapping_add(sum.rotate_left(TURNS[at / 16][at % 4]));
        (a, d, c, b) = (d, c, b, turned);
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        md5(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 1321, A.5.
    #[test]
    fn digests_are_those_of_the_rfc() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex(text), digest, "{text}");
        }
    }

    #[test]
    fn every_length_around_a_block_is_padded_to_whole_blocks() {
        // The digests of 55, 56, 63, 64 and 65 times "x", as md5sum prints them.
        for (count, digest) in EDGES {
            assert_eq!(hex(&"x".repeat(count)), digest, "{count}");
        }
    }

    const EDGES: [(usize, &str); 5] = [
        (55, "04364420e25c512fd958a70738aa8f72"),
        (56, "668a72d5ba17f08e62dabcafad6db14b"),
        (63, "7dc2ca208106a2f703567bdff99d8981"),
        (64, "c1bb4f81d892b2d57947682aeb252456"),
        (65, "1bc932052302d074bdec39795fe00cf6"),
    ];
}
