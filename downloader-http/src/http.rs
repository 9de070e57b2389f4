//! The backend itself: one fetch, one conversation, one body.
//!
//! Invariant: nothing is asked twice. The exceptions are a redirect, which is another question, a `GET` after a
//! server that knows no `HEAD`, the answer to a challenge (401): at most three for one URL, each the same request
//! with another `Authorization`, and the whole after a part of something encoded. Must not know: retries, mirrors,
//! writers, how a challenge is answered.

use std::fmt;

use async_trait::async_trait;
use downloader_core::{Backend, Body, ByteRange, Download, Error, Fetch, Options, Result, Validator};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode, header};

use crate::auth::Auth;
use crate::builder::HttpBuilder;
use crate::coding::ContentCoding;
use crate::conversation::{Answered, Conversation};
use crate::exchange::Reply;
use crate::policies::Policies;
use crate::redirect::Redirects;
use crate::response::{ResponseHead, interpret, media_type};
use crate::transport::Transport;
use crate::{body, content_disposition, index, response};

/// HTTP and HTTPS, over HTTP/1.1 and HTTP/2.
///
/// One backend holds the connections of all downloads that share it; they live on the runtime that opened them.
/// See [the crate](crate) for its limits.
pub struct Http {
    pub(crate) transport: Transport,
    pub(crate) auth: Auth,
    pub(crate) policies: Policies,
}

impl Http {
    /// The settings, to be changed where the defaults do not fit.
    pub fn builder() -> HttpBuilder {
        HttpBuilder::new()
    }

    pub(crate) fn new(transport: Transport, auth: Auth, policies: Policies) -> Self {
        Self { transport, auth, policies }
    }

    /// What the reply says, and the bytes that follow.
    fn answer(&self, fetch: &Fetch, answered: Answered) -> Result<Body> {
        let Answered { reply, route, heard } = answered;
        let Reply { status, mut headers, wire, stream: mut bytes } = reply;
        let place = |error: Error| error.with_url(route.url()).with_wire(wire.clone());
        let told = interpret(fetch, self.policies.coding(fetch), status, &headers).map_err(place)?;
        let mut heard = heard.answered(route.url(), status, &headers).map_err(place)?;
        let entries = || index::entries(&fetch.url, route.url(), self.policies.index(fetch));
        let entries = fetch.listing.then(entries).transpose().map_err(place)?;
        let mut answer = Body::new(told.entity, told.range, stream::empty().boxed());
        answer.seekable = told.seekable;
        answer.not_modified = told.not_modified;
        answer.media_type = media_type(&headers);
        answer.file_name = content_disposition::file_name(&headers);
        answer.entries = entries;
        answer.wire = wire;
        answer.wire.allowance = response::allowance(&headers);
        if let Some(decode) = &told.decode {
            // What is told of the content is told of it as it travels.
            if let Some(digest) = heard.digests.drain(..).next() {
                bytes = body::counted(bytes, ByteRange::ALL, Some(digest.start()), route.url().clone());
            }
            bytes = decode.undo(bytes)?;
            decode.describe(answer.entity.tag.as_ref(), &mut headers);
        }
        // An empty range also says that what follows, such as an error page, is not content.
        if !told.range.is_empty() {
            let check = heard.part.as_ref().map(Validator::start);
            answer.stream = body::counted(bytes, told.range, check, route.url().clone());
        }
        answer.extras = extras(status, headers);
        answer.digests.clone_from(&heard.digests);
        heard.leave_links(&mut answer.extras);
        let hops = route.into_hops();
        if let Some(last) = hops.last() {
            answer.wire.url = Some(last.url.clone());
            answer.extras.insert(Redirects(hops));
        }
        Ok(answer)
    }
}

#[async_trait]
impl Download for Http {
    async fn open(&self, mut fetch: Fetch) -> Result<Body> {
        if !self.schemes().contains(&fetch.url.scheme()) {
            let what = format!("URL scheme {:?}; accepted: http, https", fetch.url.scheme());
            return Err(Error::unsupported(what).with_url(&fetch.url));
        }
        if fetch.listing {
            fetch.url = index::asked(&fetch.url)?;
        }
        let mut answered = Conversation::new(self, &fetch).hold().await?;
        if is_encoded_part(&answered.reply, self.policies.coding(&fetch)) {
            fetch.range = ByteRange::ALL;
            // The connection of the reply nobody wants is let go first.
            drop(answered);
            answered = Conversation::new(self, &fetch).hold().await?;
        }
        self.answer(&fetch, answered)
    }
}

impl Backend for Http {
    fn schemes(&self) -> &'static [&'static str] {
        &["http", "https"]
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

/// A part of an encoded content where the content is to be decoded: it says nothing of any byte of that.
fn is_encoded_part(reply: &Reply, coding: &ContentCoding) -> bool {
    reply.status == StatusCode::PARTIAL_CONTENT
        && coding.decodes()
        && reply.headers.contains_key(header::CONTENT_ENCODING)
}

fn extras(status: StatusCode, headers: HeaderMap) -> Options {
    let mut extras = Options::default();
    extras.insert(ResponseHead { status, headers });
    extras
}
