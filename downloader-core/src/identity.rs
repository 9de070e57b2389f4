//! What makes two requests equal: who serves the content, on what is asked of whom, and what must be true of the bytes.
//!
//! Invariant: requests of one identity get the same bytes under the same checks; where that cannot be told, each has an
//! identity of its own. Must not know: who asks, or what is done with an equal request.

use std::fmt;
use std::sync::Arc;

use crate::entity::Entity;
use crate::options::Options;
use crate::request::Request;

/// Collects what tells one request from another, part by part. Only a digest of it is kept: secrets go in, none comes out.
pub struct Identity(blake3::Hasher);

/// The digest of an [`Identity`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Identity {
    fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    /// Adds a part: its name, and what it is. Neither runs into the next one.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        for bytes in [name.as_bytes(), value.as_ref()] {
            self.0.update(&(bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }

    /// Adds an object of which nothing but itself is equal. Whoever keeps the identity keeps the object, or another one may
    /// take its place in memory.
    pub(crate) fn add_object<T: ?Sized>(&mut self, name: &str, object: &Arc<T>) {
        self.add(name, Arc::as_ptr(object).cast::<()>().addr().to_le_bytes());
    }

    pub(crate) fn add_options(&mut self, options: &Options) {
        let mut parts: Vec<_> = options.identities().collect();
        // The order in which they were set says nothing.
        parts.sort_unstable();
        self.add("options", (parts.len() as u64).to_le_bytes());
        for (of, name, value) in parts {
            self.add(of, name);
            self.add("value", value);
        }
    }

    fn add_entity(&mut self, entity: Option<&Entity>) {
        self.add("unless", format!("{entity:?}"));
    }
}

impl Key {
    /// The identity of a request. Its terms (group, priority, speed, patience, deadline, retry policy, connections) do not
    /// count: they change how the bytes come, not which.
    pub(crate) fn of(request: &Request) -> Self {
        let mut identity = Identity::new();
        if !request.locate.identify(&mut identity) {
            identity.add_object("sources", &request.locate);
        }
        identity.add_options(&request.options);
        identity.add("checks", (request.validators.len() as u64).to_le_bytes());
        for validator in &request.validators {
            if !validator.identify(&mut identity) {
                identity.add_object("check", validator);
            }
        }
        identity.add("size", format!("{:?}", request.size));
        identity.add("range", format!("{}", request.range));
        identity.add("flags", [u8::from(request.body), u8::from(request.strict)]);
        identity.add_entity(request.unless.as_ref());
        Self(*identity.0.finalize().as_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::sources::{Fixed, Source};
    use crate::validate::Size;

    const A: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn request() -> Request {
        Request::get("http://h.example/f?token=1").unwrap()
    }

    // pulp L3: what differs is not merged.
    #[test]
    fn what_changes_the_bytes_or_their_checks_changes_the_identity() {
        let of_source = |source: Source| Request::located(Arc::new(Fixed::new(vec![source])));
        let source = || Source::new("http://h.example/f?token=1".parse().unwrap());
        let different: Vec<Request> = vec![
            request(),
            Request::get("http://h.example/f?token=2").unwrap(),
            Request::get("http://u:p@h.example/f?token=1").unwrap(),
            Request::mirrors(["http://h.example/f?token=1", "http://m.example/f"]).unwrap(),
            request().sha256(A).unwrap(),
            request().sha256(&A.replace('9', "8")).unwrap(),
            request().size(5),
            request().size(6),
            request().max_size(5),
            request().check(Size::exactly(5)),
            request().strict(),
            request().head_only(),
            request().unless(Entity::sized(5)),
            request().option("alice".to_owned()),
            request().option("alice".to_owned()),
            request().option_known_as("a", "alice".to_owned()),
            request().option_known_as("b", "alice".to_owned()),
            request().option_known_as("a", 7u8),
            of_source(source().named("f")),
            of_source(source().priority(2)),
            of_source(source().option(7u8)),
        ];
        let keys: Vec<Key> = different.iter().map(Key::of).collect();
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(Key::of(&different[n]), *key);
            assert_eq!(keys.iter().filter(|other| *other == key).count(), 1, "{:?}", different[n]);
        }
    }

    #[test]
    fn equal_is_equal() -> Result<()> {
        let template = request().option("alice".to_owned()).option(7u8);
        let known = || request().option_known_as("a", "alice".to_owned()).option_known_as("n", 7u8);
        let turned = request().option_known_as("n", 7u8).option_known_as("a", "another".to_owned());
        for (one, other) in [
            (request(), request()),
            (request().sha256(A)?.size(5), request().sha256(&A.to_uppercase())?.size(5)),
            (template.clone(), template.clone()),
            (template.clone().size(5), template.size(5)),
            (known(), known()),
            (known(), turned),
            (request(), request().group("g").priority(3)),
        ] {
            assert_eq!(Key::of(&one), Key::of(&other), "{one:?} {other:?}");
        }
        Ok(())
    }
}
