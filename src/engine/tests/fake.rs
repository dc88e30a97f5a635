//! One side in memory, with what may go wrong at it.

use super::*;
use crate::model::Field;

/// What goes wrong at the next call of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Trouble {
    /// The write takes effect, its answer is lost.
    LostAnswer,
    /// The write is refused.
    Refused,
    /// Nothing gets through.
    Unreachable,
    /// The credential is no longer good.
    Denied,
    /// Its turn comes late, each time until it is said otherwise.
    Late,
    /// Its turn comes late this time.
    LateOnce,
    /// Labels are written; then the turn of the rest comes late.
    Halfway,
}

/// An edit that comes right before a direct read of the item.
pub(in crate::engine) struct BeforeRead {
    /// Before which one, counted from now on; from 1.
    pub(in crate::engine) read: u32,
    pub(in crate::engine) item: ItemKey,
    pub(in crate::engine) edit: fn(&mut Item),
}

#[derive(Default)]
pub(in crate::engine) struct Shelf {
    pub(in crate::engine) items: BTreeMap<ItemKey, Item>,
    pub(in crate::engine) gone: BTreeSet<ItemKey>,
    pub(in crate::engine) hidden: BTreeSet<ItemKey>,
    /// So many of the next direct reads of these are answered by a copy that does not know them yet.
    pub(in crate::engine) unknown: BTreeMap<ItemKey, u32>,
    /// Direct reads of these are answered by a copy that still shows them so.
    pub(in crate::engine) older: BTreeMap<ItemKey, Item>,
    /// What somebody edits of the next item that is written, right before.
    pub(in crate::engine) meanwhile: Option<fn(&mut Item)>,
    /// What somebody edits right before a direct read.
    pub(in crate::engine) before_read: Option<BeforeRead>,
    /// Which items moved, in order; a cursor is a place in it.
    pub(in crate::engine) moved: Vec<ItemKey>,
    pub(in crate::engine) comments: Vec<(ItemKey, String)>,
    pub(in crate::engine) creations: u64,
    pub(in crate::engine) writes: u64,
    pub(in crate::engine) on_write: Option<Trouble>,
    /// Listings leave these out.
    pub(in crate::engine) unlisted: BTreeSet<ItemKey>,
    /// Whether some entry cannot be read.
    pub(in crate::engine) unreadable: bool,
    /// Whether an old entry cannot be read.
    pub(in crate::engine) odd: bool,
    /// How often all there is was looked through for markers.
    pub(in crate::engine) looked_through: u32,
    /// Direct reads of these get no answer.
    pub(in crate::engine) unanswered: BTreeSet<ItemKey>,
    /// Direct reads of these take so long.
    pub(in crate::engine) slow: BTreeMap<ItemKey, Duration>,
    /// Writes of these fields are accepted, and not made.
    pub(in crate::engine) dropped: BTreeSet<Field>,
    /// Direct reads of these say where they were moved to.
    pub(in crate::engine) transferred: BTreeMap<ItemKey, ItemKey>,
    /// What items were called before their repository was renamed; direct reads follow.
    pub(in crate::engine) former: BTreeMap<ItemKey, ItemKey>,
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// One side in memory. Behaves as the services do where the engine could tell the difference.
pub(in crate::engine) struct Fake {
    pub(in crate::engine) side: Side,
    pub(in crate::engine) clock: Arc<VirtualClock>,
    pub(in crate::engine) shelf: Mutex<Shelf>,
    pub(in crate::engine) sent: AtomicU64,
}

impl Fake {
    pub(in crate::engine) fn key(&self, number: u64) -> ItemKey {
        match self.side {
            Side::Tracker => ItemKey::Task(number.to_string().parse().expect("a gid")),
            Side::Forge => ItemKey::Issue(IssueRef { repo: "acme/app".parse().expect("a name"), number }),
        }
    }

    pub(in crate::engine) fn put(&self, number: u64, content: Content) -> ItemKey {
        let key = self.key(number);
        let now = self.clock.now();
        let item = Item {
            url: format!("https://{}/{number}", self.side.service()),
            key: key.clone(),
            content,
            footer: None,
            marker: None,
            created_at: now,
            updated_at: now,
            place: Place::Here,
            facts: Facts::default(),
            native: match self.side {
                Side::Tracker => Native::Task { tags: BTreeMap::new() },
                Side::Forge => {
                    Native::Issue { repo_id: 7, id: 1_000 + number.cast_signed(), node_id: format!("I_{number}") }
                }
            },
        };
        let mut shelf = lock(&self.shelf);
        shelf.items.insert(key.clone(), item);
        shelf.moved.push(key.clone());
        key
    }

    pub(in crate::engine) fn edit(&self, key: &ItemKey, edit: impl FnOnce(&mut Item)) {
        self.clock.advance(Duration::from_secs(1));
        let mut shelf = lock(&self.shelf);
        let key = &shelf.former.get(key).unwrap_or(key).clone();
        let item = shelf.items.get_mut(key).expect("an item to edit");
        edit(item);
        item.updated_at = self.clock.now();
        shelf.moved.push(key.clone());
    }

    pub(in crate::engine) fn delete(&self, key: &ItemKey) {
        let mut shelf = lock(&self.shelf);
        shelf.items.remove(key);
        shelf.gone.insert(key.clone());
    }

    /// Its repository gets another name, and each issue with it.
    pub(in crate::engine) fn rename(&self, name: &str) {
        let mut shelf = lock(&self.shelf);
        for (before, mut item) in std::mem::take(&mut shelf.items) {
            let ItemKey::Issue(issue) = &mut item.key else { panic!("a task has no repository") };
            issue.repo = name.parse().expect("a name");
            shelf.former.insert(before, item.key.clone());
            shelf.moved.push(item.key.clone());
            shelf.items.insert(item.key.clone(), item);
        }
    }

    pub(in crate::engine) fn get(&self, key: &ItemKey) -> Item {
        let shelf = lock(&self.shelf);
        shelf.items.get(shelf.former.get(key).unwrap_or(key)).cloned().expect("an item")
    }

    pub(in crate::engine) fn all(&self) -> Vec<Item> {
        lock(&self.shelf).items.values().cloned().collect()
    }

    pub(in crate::engine) fn trouble(&self, trouble: Option<Trouble>) {
        lock(&self.shelf).on_write = trouble;
    }

    pub(in crate::engine) fn fails(&self, trouble: Option<Trouble>, doing: &str) -> Result<(), ProviderError> {
        let doing = doing.to_owned();
        match trouble {
            None => Ok(()),
            Some(Trouble::LostAnswer) => {
                Err(ProviderError::Unreachable { doing, why: "the connection was cut".into(), maybe_done: true })
            }
            Some(Trouble::Unreachable) => {
                Err(ProviderError::Unreachable { doing, why: "no route".into(), maybe_done: false })
            }
            Some(Trouble::Late) => {
                lock(&self.shelf).on_write = trouble;
                Err(ProviderError::Stale { doing })
            }
            Some(Trouble::LateOnce | Trouble::Halfway) => Err(ProviderError::Stale { doing }),
            Some(Trouble::Refused) => Err(ProviderError::Refused { doing, status: 422, why: "no".into() }),
            Some(Trouble::Denied) => Err(ProviderError::Denied { doing, why: "the token was revoked".into() }),
        }
    }
}

impl Observe for Fake {
    fn side(&self) -> Side {
        self.side
    }

    fn changes(&self, cursor: Option<&Cursor>, _belt: bool, sink: Sink<'_>) -> Result<Changes, ProviderError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let next = lock(&self.shelf).moved.len().to_string();
        let Some(from) = cursor.and_then(|cursor| cursor.parse::<usize>().ok()) else {
            return Ok(Changes::TooOld { next });
        };
        let (touched, items) = {
            let shelf = lock(&self.shelf);
            let keys: BTreeSet<ItemKey> = shelf.moved.iter().skip(from).cloned().collect();
            let items: Vec<Item> = keys.iter().filter_map(|key| shelf.items.get(key)).cloned().collect();
            (keys.into_iter().collect::<Vec<_>>(), items)
        };
        match self.side {
            // Asana names what moved, GitHub delivers it.
            Side::Tracker => Ok(Changes::Since { next, touched }),
            Side::Forge => {
                sink(items).map_err(|_| ProviderError::Halted)?;
                Ok(Changes::Since { next, touched: Vec::new() })
            }
        }
    }

    fn sweep(&self, sink: Sink<'_>) -> Result<u64, ProviderError> {
        let all: Vec<Item> = {
            let shelf = lock(&self.shelf);
            shelf.items.values().filter(|item| !shelf.unlisted.contains(&item.key)).cloned().collect()
        };
        let count = all.len();
        for page in all.chunks(3) {
            self.sent.fetch_add(1, Ordering::Relaxed);
            sink(page.to_vec()).map_err(|_| ProviderError::Halted)?;
        }
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn item(&self, key: &ItemKey) -> Result<Found, ProviderError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let waits = lock(&self.shelf).before_read.take();
        match waits {
            Some(BeforeRead { read: 1, item, edit }) if item == *key => self.edit(key, edit),
            Some(BeforeRead { read, item, edit }) => {
                let read = read - u32::from(item == *key);
                lock(&self.shelf).before_read = Some(BeforeRead { read, item, edit });
            }
            None => {}
        }
        let mut shelf = lock(&self.shelf);
        if let Some(span) = shelf.slow.get(key) {
            self.clock.advance(*span);
        }
        if let Some(to) = shelf.transferred.get(key) {
            return Ok(Found::Moved(to.clone()));
        }
        if let Some(left) = shelf.unknown.get_mut(key).filter(|left| **left > 0) {
            *left -= 1;
            return Ok(Found::Gone);
        }
        let key = shelf.former.get(key).unwrap_or(key);
        if shelf.unanswered.contains(key) {
            self.fails(Some(Trouble::Unreachable), "read")?;
        }
        if let Some(older) = shelf.older.get(key) {
            return Ok(Found::Here(Box::new(older.clone())));
        }
        Ok(match shelf.items.get(key) {
            Some(_) if shelf.hidden.contains(key) => Found::Unseen("status 404".into()),
            Some(item) => Found::Here(Box::new(item.clone())),
            None if shelf.gone.contains(key) => Found::Gone,
            None => Found::Unseen("status 404".into()),
        })
    }

    fn marked_since(&self, from: Timestamp) -> Result<Marked, ProviderError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut shelf = lock(&self.shelf);
        let through = shelf.items.values().all(|item| item.created_at >= from + YEAR);
        shelf.looked_through += u32::from(through);
        let listed = shelf.items.values().filter(|item| !shelf.unlisted.contains(&item.key));
        let items = listed.filter(|item| item.marker.is_some() && item.created_at >= from).cloned().collect();
        Ok(Marked { items, whole: !(shelf.unreadable || (through && shelf.odd)) })
    }

    fn has_comment(&self, key: &ItemKey, text: &str) -> Result<bool, ProviderError> {
        Ok(lock(&self.shelf).comments.iter().any(|(on, said)| on == key && said.contains(text)))
    }

    fn check(&self, _now: Timestamp) -> Vec<Finding> {
        Vec::new()
    }

    fn requests(&self) -> Requests {
        Requests { sent: self.sent.load(Ordering::Relaxed), unchanged: 0, writes: lock(&self.shelf).writes }
    }
}

impl Write for Fake {
    fn create(&self, draft: &Draft) -> Result<Item, ProviderError> {
        let trouble = lock(&self.shelf).on_write.take();
        if trouble.is_some_and(|trouble| trouble != Trouble::LostAnswer) {
            self.fails(trouble, "create")?;
        }
        let number = {
            let mut shelf = lock(&self.shelf);
            shelf.creations += 1;
            shelf.writes += 1;
            900 + shelf.creations
        };
        // Both services are born open, as GitHub's are.
        let key = self.put(number, Content { status: Status::Open, ..draft.content.clone() });
        let mut shelf = lock(&self.shelf);
        let item = shelf.items.get_mut(&key).expect("just put");
        item.marker = Some(draft.marker.clone());
        item.footer = Some(draft.footer.clone());
        let made = item.clone();
        drop(shelf);
        self.fails(trouble, "create")?;
        Ok(made)
    }

    fn update(&self, current: &Item, change: &Change) -> Result<Item, ProviderError> {
        let trouble = lock(&self.shelf).on_write.take();
        if trouble == Some(Trouble::Halfway)
            && let Some(labels) = change.labels.clone()
        {
            self.edit(&current.key, |item| item.content.labels = labels);
        }
        if trouble.is_some_and(|trouble| trouble != Trouble::LostAnswer) {
            self.fails(trouble, "update")?;
        }
        lock(&self.shelf).writes += 1;
        let meanwhile = lock(&self.shelf).meanwhile.take();
        let dropped = lock(&self.shelf).dropped.clone();
        self.edit(&current.key, |item| {
            if let Some(edit) = meanwhile {
                edit(item);
            }
            let Change { title, text, status, assignees, labels } = change.clone();
            let title = title.filter(|_| !dropped.contains(&Field::Title));
            let status = status.filter(|_| !dropped.contains(&Field::Status));
            if let Some(title) = title {
                item.content.title = title;
            }
            if let Some((body, footer)) = text {
                item.content.body = body;
                item.marker = footer.as_deref().and_then(marker_in);
                item.footer = footer;
            }
            if let Some(status) = status {
                item.content.status = status;
            }
            if let Some(assignees) = assignees {
                item.content.assignees = assignees;
            }
            if let Some(labels) = labels {
                item.content.labels = labels;
            }
        });
        self.fails(trouble, "update")?;
        Ok(self.get(&current.key))
    }

    fn comment(&self, key: &ItemKey, text: &str) -> Result<(), ProviderError> {
        lock(&self.shelf).comments.push((key.clone(), text.to_owned()));
        Ok(())
    }
}

/// The marker in a footer, as the services' clients find it.
fn marker_in(footer: &str) -> Option<crate::model::Marker> {
    let at = footer.find("evenkeel:v1 ")?;
    let words: Vec<&str> = footer[at..].split_whitespace().take(3).collect();
    let text = words.join(" ");
    let end = text.find("check:")? + "check:".len() + 8;
    text.get(..end)?.parse().ok()
}
