//! stub
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::download::{Body, Download, Fetch};
use crate::error::Result;

/// Bounds.
#[derive(Clone, Debug, Default)]
pub struct Limits;

impl Limits {
    /// Sets it.
    pub fn set_global(&self, _permits: Option<usize>) {}
    /// Sets it.
    pub fn set_per_host(&self, _permits: Option<usize>) {}
    /// Sets it.
    pub fn set_host(&self, _origin: &str, _permits: Option<usize>) {}
    /// Sets it.
    pub fn set_group(&self, _name: &str, _permits: Option<usize>) {}
    /// Number of open bodies.
    #[must_use]
    pub fn active(&self) -> usize {
        0
    }
    /// Number of those waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        0
    }
}

/// Layer.
pub struct Limit {
    inner: Arc<dyn Download>,
}

impl Limit {
    /// Wraps.
    #[must_use]
    pub fn new(inner: Arc<dyn Download>, _limits: Limits) -> Self {
        Self { inner }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Download for Limit {
    async fn open(&self, fetch: Fetch) -> Result<Body> {
        self.inner.open(fetch).await
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limit({:?})", self.inner)
    }
}
