//! Signature headers: whatever the values are, at most one service reads them, and they fit nothing by chance.

#![no_main]

use evenkeel::config::Secret;
use evenkeel::provider::signature::{Claim, sign, signer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Values of one header, apart by a byte that no header holds.
    let values: Vec<&[u8]> = data.split(|byte| *byte == 0xff).collect();
    let secret = Secret::new("a secret of these tests".to_owned());
    let (asana, github) = (Claim::asana(&values), Claim::github(&values));
    assert!(asana.is_err() || github.is_err(), "one value, read in two ways");
    for claim in [asana, github].into_iter().flatten() {
        assert_eq!(values.len(), 1);
        let right = Claim::asana([sign(&secret, data)]).expect("our own form");
        assert_eq!(signer([None, Some(&secret)], data, Some(claim)).is_some(), claim == right);
        assert_eq!(signer([None, None], data, Some(claim)), None);
    }
});
