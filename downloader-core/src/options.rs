//! A map from type to value: what a caller tells one backend, and what a backend tells its caller.
//!
//! Invariant: at most one value of a type. Must not know: any of the types; the engine only carries them.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

type Entry = (TypeId, &'static str, Known);

/// A value, and the name by which it is known.
#[derive(Clone)]
struct Known {
    value: Arc<dyn Any + Send + Sync>,
    name: Option<Arc<str>>,
}

/// Values by type, cheap to clone. `Debug` prints the types, never the values, which may be secret.
#[derive(Clone, Default)]
pub struct Options(Option<Arc<Vec<Entry>>>);

impl Options {
    /// Sets the value of type `T`, replacing an earlier one.
    pub fn insert<T: Any + Send + Sync>(&mut self, value: T) {
        self.set::<T>(Known { value: Arc::new(value), name: None });
    }

    /// Sets the value of type `T`, and vouches that it is equal to every other one of this type and name: see
    /// [`SingleFlight`](crate::SingleFlight). The name may be secret: it is not printed.
    pub fn insert_known_as<T: Any + Send + Sync>(&mut self, name: impl Into<Arc<str>>, value: T) {
        self.set::<T>(Known { value: Arc::new(value), name: Some(name.into()) });
    }

    fn set<T: Any>(&mut self, known: Known) {
        let entries = Arc::make_mut(self.0.get_or_insert_default());
        entries.retain(|(id, ..)| *id != TypeId::of::<T>());
        entries.push((TypeId::of::<T>(), std::any::type_name::<T>(), known));
    }

    /// What tells these values from others: type, the kind of what follows, and a name or where the value is in memory.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
        self.0.iter().flat_map(|entries| entries.iter()).map(|(_, of, known)| match &known.name {
            Some(name) => (*of, "name", name.as_bytes().to_vec()),
            None => (*of, "place", Arc::as_ptr(&known.value).cast::<()>().addr().to_le_bytes().to_vec()),
        })
    }

    /// The value of type `T`.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        let entries = self.0.as_deref()?;
        let (.., known) = entries.iter().find(|(id, ..)| *id == TypeId::of::<T>())?;
        known.value.downcast_ref()
    }

    /// These values, with those of `other` set over them.
    #[must_use]
    pub fn overlaid(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (_, None) => self.clone(),
            (None, _) => other.clone(),
            (Some(own), Some(over)) => {
                let mut entries: Vec<Entry> = over.as_ref().clone();
                entries.extend(own.iter().filter(|(id, ..)| !over.iter().any(|(o, ..)| o == id)).cloned());
                Self(Some(Arc::new(entries)))
            }
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().flat_map(|entries| entries.iter()).map(|(_, name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_a_type_and_nothing_printed() {
        let mut options = Options::default();
        options.insert("secret".to_owned());
        options.insert(7u8);
        options.insert(8u8);
        assert_eq!(options.get::<u8>(), Some(&8));
        assert_eq!(options.get::<u16>(), None);
        assert!(!format!("{options:?}").contains("secret"));
        let mut over = Options::default();
        over.insert(9u8);
        let merged = options.overlaid(&over);
        assert_eq!(
            (merged.get::<u8>(), merged.get::<String>().map(String::as_str)),
            (Some(&9), Some("secret"))
        );
    }
}
