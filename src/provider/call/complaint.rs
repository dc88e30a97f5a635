//! What a service says when it refuses, out of its answer's body.

use serde::Deserialize;

/// The error bodies of both services: Asana's `errors[].message`, GitHub's `message` and `errors[]`.
#[derive(Deserialize)]
pub(super) struct Complaint {
    message: Option<serde_json::Value>,
    errors: Option<serde_json::Value>,
}

impl Complaint {
    /// All of them in one line.
    pub(super) fn words(&self) -> String {
        let mut words = Vec::new();
        let mut say = |value: &serde_json::Value| {
            if let Some(text) = value.as_str() {
                words.push(text.to_owned());
            }
        };
        if let Some(message) = &self.message {
            say(message);
        }
        for error in self.errors.iter().filter_map(serde_json::Value::as_array).flatten().take(5) {
            say(error);
            match (error.get("field").and_then(|field| field.as_str()), error.get("message"), error.get("code")) {
                // GitHub's field errors have a code, and a message only when the code is `custom`.
                (Some(field), message, code) => {
                    let what = message.or(code).and_then(|what| what.as_str()).unwrap_or("invalid");
                    say(&format!("{field}: {what}").into());
                }
                (None, Some(message), _) => say(message),
                (None, None, _) => {}
            }
        }
        if words.is_empty() { "no message".to_owned() } else { words.join("; ") }
    }
}
