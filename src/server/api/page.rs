//! Pages: lists cut so that no answer is larger than may leave, whatever texts are in it.

use serde::Serialize;
use serde_json::{Value, json};

use super::ask::Query;
use super::fault::Fault;
use crate::server::message::Answer;

/// The list of an answer in bytes: half of what the listener lets out, so that one more item of the longest fits.
pub(super) const LIST_BYTES_MAX: usize = 4 << 20;

/// Answers one page: as many items as were asked for and fit, at least one, and the cursor of the page after.
/// `found` holds one item more than asked for if there are more; `row` is what cursors go by.
pub(super) fn page<T: Serialize>(
    query: &Query<'_>,
    name: &str,
    found: Vec<T>,
    row: impl Fn(&T) -> i64,
) -> Result<Answer, Fault> {
    let limit = query.limit()? as usize;
    let count = found.len();
    let rows: Vec<i64> = found.iter().map(row).collect();
    let (list, _) = fitting(found.into_iter().take(limit), LIST_BYTES_MAX)?;
    let next = rows.get(list.len().wrapping_sub(1)).filter(|_| list.len() < count).map(|row| query.next(*row));
    Ok(Answer::json(200, &json!({ name: list, "next": next })))
}

/// The first items as JSON, at least one, as many as fit; and the bytes they take.
pub(super) fn fitting<T: Serialize>(
    items: impl Iterator<Item = T>,
    bytes_max: usize,
) -> Result<(Vec<Value>, usize), Fault> {
    let (mut list, mut bytes) = (Vec::new(), 0);
    for item in items {
        let value = serde_json::to_value(item)?;
        let more = value.to_string().len();
        if bytes + more > bytes_max && !list.is_empty() {
            break;
        }
        bytes += more;
        list.push(value);
    }
    Ok((list, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_what_fits_and_at_least_one() {
        let long = "x".repeat(100);
        for (room, count) in [(0, 1), (101, 1), (203, 1), (204, 2), (1_000, 3)] {
            let (list, bytes) = fitting([&long, &long, &long].into_iter(), room).expect("JSON");
            assert_eq!((list.len(), bytes), (count, count * 102), "{room}");
        }
    }
}
