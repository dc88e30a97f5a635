//! Seals secrets for the database, and draws the chance that secrets are made of.
//!
//! ChaCha20-Poly1305 under a key derived from the configured one; what a secret belongs to is sealed in with it, so
//! that a sealed secret is good in its own row only.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::Secret;

/// What every sealed secret begins with: the form, should another follow.
const FORM: &str = "v1.";

/// Random bytes of a token or a secret: 256 bits.
const TOKEN_BYTES: usize = 32;

/// Seals and opens secrets under one key.
pub struct Seal(LessSafeKey);

/// A sealed secret that cannot be opened: another key, another row, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unopened;

impl fmt::Display for Unopened {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(
            "the secret in the database was sealed with another key; give the right seal_key in [webhooks], or let the \
             next look after the hooks replace them (`evenkeel webhooks ensure` does it now)",
        )
    }
}

impl std::error::Error for Unopened {}

impl fmt::Debug for Seal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Seal(hidden)")
    }
}

impl Seal {
    /// Under the key configured.
    pub fn new(key: &Secret) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"evenkeel seal v1\0");
        digest.update(key.reveal().as_bytes());
        let derived = Zeroizing::new(<[u8; 32]>::from(digest.finalize()));
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*derived).expect("the key has the length of the algorithm");
        Self(LessSafeKey::new(key))
    }

    /// Seals a secret for what it belongs to. `nonce` must never be the same twice under one key: [`nonce`].
    pub fn seal(&self, secret: &Secret, belongs_to: &str, nonce: [u8; NONCE_LEN]) -> String {
        let mut bytes = secret.reveal().as_bytes().to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(unique, Aad::from(belongs_to.as_bytes()), &mut bytes)
            .expect("a secret is far shorter than the algorithm's limit");
        let mut sealed = nonce.to_vec();
        sealed.append(&mut bytes);
        format!("{FORM}{}", BASE64.encode(sealed))
    }

    /// Opens what was sealed for the same.
    ///
    /// # Errors
    /// [`Unopened`] when the key, what it belongs to, or any byte is another.
    pub fn open(&self, sealed: &str, belongs_to: &str) -> Result<Secret, Unopened> {
        let bytes = sealed.strip_prefix(FORM).and_then(|text| BASE64.decode(text).ok()).ok_or(Unopened)?;
        let (nonce, cipher) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(Unopened)?;
        let mut cipher = Zeroizing::new(cipher.to_vec());
        let unique = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(unique, Aad::from(belongs_to.as_bytes()), &mut cipher);
        let text = std::str::from_utf8(opened.map_err(|_| Unopened)?).map_err(|_| Unopened)?;
        Ok(Secret::new(text.to_owned()))
    }
}

/// Chance for one [`Seal::seal`].
///
/// # Errors
/// When the system has no randomness to give.
pub fn nonce() -> Result<[u8; NONCE_LEN], NoChance> {
    let mut bytes = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoChance)?;
    Ok(bytes)
}

/// A new token or secret: 43 characters that may stand in an address.
///
/// # Errors
/// When the system has no randomness to give.
pub fn token() -> Result<Secret, NoChance> {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| NoChance)?;
    Ok(Secret::new(BASE64.encode(*bytes)))
}

/// The system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoChance;

impl fmt::Display for NoChance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the system gave no random bytes")
    }
}

impl std::error::Error for NoChance {}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_for_the_same_thing_only() {
        let seal = Seal::new(&secret("0123456789abcdef0123456789abcdef"));
        let sealed = seal.seal(&secret("hook secret"), "hook a", [7; NONCE_LEN]);
        assert!(!sealed.contains("hook"));
        assert_eq!(seal.open(&sealed, "hook a"), Ok(secret("hook secret")));
        assert_eq!(seal.open(&sealed, "hook b"), Err(Unopened));
        let other = Seal::new(&secret("0123456789abcdef0123456789abcdeg"));
        assert_eq!(other.open(&sealed, "hook a"), Err(Unopened));
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone().into_bytes();
            damaged[place] = if damaged[place] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).expect("ASCII");
            assert_eq!(seal.open(&damaged, "hook a"), Err(Unopened), "{damaged}");
        }
        for nonsense in ["", "v1.", "v1.AAAA", "v2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "é"] {
            assert_eq!(seal.open(nonsense, "hook a"), Err(Unopened));
        }
    }

    #[test]
    fn tokens_are_long_and_fit_into_an_address() {
        let (one, other) = (token().expect("chance"), token().expect("chance"));
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 43);
        assert!(one.reveal().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_ne!(nonce().expect("chance"), nonce().expect("chance"));
    }
}
