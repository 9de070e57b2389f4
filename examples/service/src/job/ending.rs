//! Owns what is told of a download that ended.
//!
//! Invariant: what a callback says of the download comes from here, the same at every attempt. Must not know who is told, or how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a download ended. Written once, by the processor that held the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ending {
    /// Is the file stored?
    pub success: bool,
    /// Why not; empty after a success.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The last status of HTTP, 0 if there was none.
    pub response_code: u16,
    /// `WIDTHxHEIGHT` if it was asked for and can be told, else empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_size: String,
    /// The size of the file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The media type that the content shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Digests of the file in hexadecimal, by algorithm.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
    /// Where clients find the file; empty when it is not in the service's own storage.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub download_url: String,
    /// Where the file lies in the service's own storage; it is deleted from there after its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// A place in the service's own storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Which storage: a bucket, or the directory of one machine. Whoever removes files claims those of sites that it can reach.
    pub site: String,
    /// The path or key there.
    pub path: String,
}

impl Ending {
    /// A download that ended without a file.
    pub fn failed(error: impl Into<String>, response_code: u16) -> Self {
        Self { error: error.into(), response_code, ..Self::default() }
    }
}
