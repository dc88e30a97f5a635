//! Signs and checks raw bodies as both services do, HMAC-SHA256, and compares secrets in constant time.
//!
//! | service | header | value |
//! | --- | --- | --- |
//! | Asana | `X-Hook-Signature` | 64 lower-case hex digits |
//! | GitHub | `X-Hub-Signature-256` | `sha256=` and 64 lower-case hex digits |
//!
//! The key is the secret as text, the message the bytes as they came (a body written anew has another
//! signature). A header that does not come exactly once in exactly this form is refused before its value is
//! believed to be anything: what one reader joins and another splits could be signed for one and read by another.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;
use crate::model::hex;

/// The header of Asana's signatures, in the case in which headers are compared.
pub const ASANA_HEADER: &str = "x-hook-signature";
/// The header of GitHub's signatures.
pub const GITHUB_HEADER: &str = "x-hub-signature-256";

/// What GitHub writes before the digits.
const GITHUB_PREFIX: &str = "sha256=";
/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;
/// Secrets that may be good at one time: the present one and, while it is rotated, the other.
pub const SECRETS_MAX: usize = 2;
/// Takes the place of a secret that is not there, of the usual length, so that the work is the same.
const NO_SECRET: &str = "no-secret-is-known-here-but-the-work-is-done-all-the-same-000000";

/// A signature as claimed by a header: well-formed, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Claim([u8; MAC_BYTES]);

// A right signature lets whoever reads it send the same body again.
impl std::fmt::Debug for Claim {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Claim(hidden)")
    }
}

/// Why a signature header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// There is none: the request is not signed.
    Missing,
    /// It comes more than once.
    Doubled,
    /// It is not in the service's form: length, prefix, upper-case or foreign digits, several values in one.
    Malformed,
}

impl std::fmt::Display for HeaderFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Missing => "it is not signed",
            Self::Doubled => "it carries more than one signature",
            Self::Malformed => "its signature is not in the form the service uses",
        })
    }
}

impl Claim {
    /// The claim in all values of [`ASANA_HEADER`], each as it came, without the line end.
    ///
    /// # Errors
    /// When there is not exactly one, or it is not 64 lower-case hex digits.
    pub fn asana<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Result<Self, HeaderFault> {
        Self::only(values, "")
    }

    /// The claim in all values of [`GITHUB_HEADER`].
    ///
    /// # Errors
    /// When there is not exactly one, or it is not `sha256=` and 64 lower-case hex digits.
    pub fn github<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Result<Self, HeaderFault> {
        Self::only(values, GITHUB_PREFIX)
    }

    fn only<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>, prefix: &str) -> Result<Self, HeaderFault> {
        let mut values = values.into_iter();
        let value = values.next().ok_or(HeaderFault::Missing)?;
        if values.next().is_some() {
            return Err(HeaderFault::Doubled);
        }
        let digits = trimmed(value.as_ref()).strip_prefix(prefix.as_bytes());
        digits.and_then(mac_from_hex).map(Self).ok_or(HeaderFault::Malformed)
    }
}

/// Without the spaces and tabs that may stand around a header's value (RFC 9110 §5.5).
fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Exactly 64 lower-case hex digits; both services send them so, and one form is easier to trust than two.
fn mac_from_hex(digits: &[u8]) -> Option<[u8; MAC_BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * MAC_BYTES {
        return None;
    }
    let mut mac = [0; MAC_BYTES];
    for (byte, pair) in mac.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(mac)
}

fn mac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(message)
}

/// The signature of a body as 64 lower-case hex digits; GitHub writes `sha256=` before them.
pub fn sign(secret: &Secret, body: &[u8]) -> String {
    hex(&mac(secret.reveal().as_bytes(), body).finalize().into_bytes())
}

/// Which of the secrets signed the body as claimed, as its place in `secrets`; `None` when none did.
///
/// The work is the same whatever is known: a secret that is not there is replaced by another, a claim that
/// could not be read by one that fits nothing, and all are tried to the end. So an address without a hook
/// takes as long as one with a wrong signature. (A secret longer than 64 bytes costs one more hash of itself.)
pub fn signer(secrets: [Option<&Secret>; SECRETS_MAX], body: &[u8], claim: Option<Claim>) -> Option<usize> {
    let claimed = claim.map_or([0; MAC_BYTES], |claim| claim.0);
    let mut found = None;
    for (place, secret) in secrets.into_iter().enumerate().rev() {
        let key = secret.map_or(NO_SECRET, Secret::reveal).as_bytes();
        let fits = mac(key, body).verify_slice(&claimed).is_ok();
        // An empty secret is one that everybody knows.
        let counts = claim.is_some() && secret.is_some_and(|secret| !secret.reveal().is_empty());
        if fits & counts {
            found = Some(place);
        }
    }
    found
}

/// Whether a token that was shown is the one kept. An empty one kept fits nothing.
///
/// Both are hashed before they are compared, so the time tells nothing of the kept one, its length included.
pub fn tokens_equal(kept: &Secret, shown: &str) -> bool {
    const KEY: &[u8] = b"evenkeel compares tokens";
    let wanted = mac(KEY, kept.reveal().as_bytes()).finalize();
    let equal = mac(KEY, shown.as_bytes()).finalize() == wanted;
    equal & !kept.reveal().is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// Whether Asana signed the body so.
    fn asana_fits(secret: &Secret, body: &[u8], value: &str) -> bool {
        signer([Some(secret), None], body, Claim::asana([value]).ok()).is_some()
    }

    /// Whether GitHub signed the body so.
    fn github_fits(secret: &Secret, body: &[u8], value: &str) -> bool {
        signer([Some(secret), None], body, Claim::github([value]).ok()).is_some()
    }

    const DIGITS: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_vector_that_github_publishes_fits() {
        // GitHub, "Validating webhook deliveries", testing the webhook payload validation.
        let known = secret("It's a Secret to Everybody");
        assert_eq!(sign(&known, b"Hello, World!"), DIGITS);
        assert!(github_fits(&known, b"Hello, World!", &format!("sha256={DIGITS}")));
        assert!(asana_fits(&known, b"Hello, World!", DIGITS));
        assert!(!github_fits(&known, b"Hello, World?", &format!("sha256={DIGITS}")));
        assert!(!github_fits(&secret("It's a secret to everybody"), b"Hello, World!", &format!("sha256={DIGITS}")));
    }

    #[test]
    fn the_vectors_of_rfc_4231_fit() {
        let table = [
            ("\u{b}".repeat(20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                "Jefe".to_owned(),
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
        ];
        for (key, message, wanted) in table {
            assert_eq!(sign(&secret(&key), message.as_bytes()), wanted);
        }
    }

    #[test]
    fn only_the_exact_form_of_each_service_is_read() {
        let upper = DIGITS.to_uppercase();
        type Read = Result<(), HeaderFault>;
        let table: Vec<(Vec<Vec<u8>>, Read, Read)> = {
            use HeaderFault::{Doubled, Malformed, Missing};
            let one = |text: String| vec![text.into_bytes()];
            vec![
                (one(DIGITS.into()), Ok(()), Err(Malformed)),
                (one(format!("sha256={DIGITS}")), Err(Malformed), Ok(())),
                (one(format!(" \tsha256={DIGITS} ")), Err(Malformed), Ok(())),
                (one(format!("\t{DIGITS}  ")), Ok(()), Err(Malformed)),
                (vec![], Err(Missing), Err(Missing)),
                (one(String::new()), Err(Malformed), Err(Malformed)),
                (one("   ".into()), Err(Malformed), Err(Malformed)),
                (vec![DIGITS.into(), DIGITS.into()], Err(Doubled), Err(Doubled)),
                (vec![DIGITS.into(), vec![]], Err(Doubled), Err(Doubled)),
                (one(format!("{DIGITS},{DIGITS}")), Err(Malformed), Err(Malformed)),
                (one(format!("sha256={DIGITS}, sha256={DIGITS}")), Err(Malformed), Err(Malformed)),
                (one(format!("{DIGITS}\r\n {DIGITS}")), Err(Malformed), Err(Malformed)),
                (one(format!("sha256= {DIGITS}")), Err(Malformed), Err(Malformed)),
                (one(format!("sha256=\n{DIGITS}")), Err(Malformed), Err(Malformed)),
                (one(format!("SHA256={DIGITS}")), Err(Malformed), Err(Malformed)),
                (one(format!("sha1={DIGITS}")), Err(Malformed), Err(Malformed)),
                (one(format!("sha256={upper}")), Err(Malformed), Err(Malformed)),
                (one(upper.clone()), Err(Malformed), Err(Malformed)),
                (one(DIGITS[1..].into()), Err(Malformed), Err(Malformed)),
                (one(format!("{DIGITS}0")), Err(Malformed), Err(Malformed)),
                (one(format!("sha256=sha256={DIGITS}")), Err(Malformed), Err(Malformed)),
                (one("g".repeat(64)), Err(Malformed), Err(Malformed)),
                (one("é".repeat(32)), Err(Malformed), Err(Malformed)),
                (vec![vec![0xff; 64]], Err(Malformed), Err(Malformed)),
                (vec![vec![0; 64]], Err(Malformed), Err(Malformed)),
                (one("a".repeat(1_000_000)), Err(Malformed), Err(Malformed)),
            ]
        };
        for (values, asana, github) in table {
            let shown: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
            assert_eq!(Claim::asana(&values).map(drop), asana, "{shown:.100?}");
            assert_eq!(Claim::github(&values).map(drop), github, "{shown:.100?}");
        }
    }

    #[test]
    fn while_a_secret_is_rotated_both_are_good_and_no_third() {
        let (old, new, other) = (secret("old"), secret("new"), secret("other"));
        let claim = |by: &Secret| Claim::asana([sign(by, b"body")]).ok();
        let table = [
            ([Some(&new), Some(&old)], claim(&new), Some(0)),
            ([Some(&new), Some(&old)], claim(&old), Some(1)),
            ([Some(&new), Some(&old)], claim(&other), None),
            ([Some(&new), None], claim(&old), None),
            ([None, Some(&old)], claim(&old), Some(1)),
            ([Some(&old), Some(&old)], claim(&old), Some(0)),
            ([None, None], claim(&old), None),
            ([Some(&new), Some(&old)], None, None),
        ];
        for (secrets, claim, wanted) in table {
            assert_eq!(signer(secrets, b"body", claim), wanted);
        }
    }

    #[test]
    fn what_stands_in_for_a_missing_secret_opens_nothing() {
        let known_to_all = secret(NO_SECRET);
        let claim = Claim::asana([sign(&known_to_all, b"body")]).ok();
        assert_eq!(signer([None, None], b"body", claim), None);
        let empty = secret("");
        let claim = Claim::asana([sign(&empty, b"body")]).ok();
        assert_eq!(signer([Some(&empty), None], b"body", claim), None);
        assert!(!tokens_equal(&empty, ""));
    }

    #[test]
    fn a_claim_is_not_shown() {
        let claim = Claim::asana([DIGITS]).expect("a claim");
        assert_eq!(format!("{claim:?}"), "Claim(hidden)");
    }

    proptest! {
        #[test]
        fn what_is_signed_fits_and_what_is_altered_does_not(
            key in "\\PC{1,80}", body in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(),
        ) {
            let key = secret(&key);
            let signature = sign(&key, &body);
            prop_assert!(asana_fits(&key, &body, &signature));
            let github = format!("sha256={}", signature);
            prop_assert!(github_fits(&key, &body, &github));
            let mut longer = body.clone();
            longer.push(0);
            prop_assert!(!asana_fits(&key, &longer, &signature));
            if !body.is_empty() {
                let mut altered = body.clone();
                altered[at.index(body.len())] ^= 1;
                prop_assert!(!asana_fits(&key, &altered, &signature));
            }
        }

        #[test]
        fn tokens_are_equal_when_their_texts_are(kept in "[a-z]{1,4}", shown in "[a-z]{0,4}") {
            prop_assert_eq!(tokens_equal(&secret(&kept), &shown), kept == shown);
            prop_assert!(tokens_equal(&secret(&kept), &kept));
        }

        #[test]
        fn no_header_is_read_twice_in_two_ways(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(Claim::asana([&value]).is_err() || Claim::github([&value]).is_err());
        }
    }
}
