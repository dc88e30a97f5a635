//! Writes JSON straight into bytes: a page of a hundred issues is 300 KB, and a tree of values for it costs too much.

use serde::Serialize;

/// One JSON object being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    /// Opens an object; `close` must follow.
    pub fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Writes a key; the caller writes its value.
    pub fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        // Keys are our own plain words.
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Any value that serialises.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> &mut Self {
        value_into(self.key(name), value);
        self
    }

    /// Text that is JSON already.
    pub fn raw(&mut self, name: &str, json: impl AsRef<[u8]>) -> &mut Self {
        self.key(name).extend_from_slice(json.as_ref());
        self
    }

    /// Text from several parts, none of which needs escaping (addresses, digits).
    pub fn plain(&mut self, name: &str, parts: &[&str]) -> &mut Self {
        let out = self.key(name);
        out.push(b'"');
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.push(b'"');
        self
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push(b'}');
    }
}

/// Writes one value.
pub(super) fn value_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing to memory has no I/O to fail, and what we write has no failing parts.
    let _ = serde_json::to_writer(out, value);
}

/// Writes a list, one call for each element.
pub(super) fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        each(out, item);
    }
    out.push(b']');
}
