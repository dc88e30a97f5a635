//! Signatures of deliveries: HMAC over the exact bytes sent.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// HMAC-SHA256 in lower-case hexadecimal digits.
pub(in crate::sandbox) fn sha256_hex(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

/// HMAC-SHA1 in lower-case hexadecimal digits.
pub(in crate::sandbox) fn sha1_hex(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_signs_as_published() {
        let (secret, body) = ("It's a Secret to Everybody", b"Hello, World!");
        assert_eq!(sha256_hex(secret, body), "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
        assert_eq!(sha1_hex(secret, body), "01dc10d0c83e72ed246219cdd91669667fe2ca59");
    }
}
