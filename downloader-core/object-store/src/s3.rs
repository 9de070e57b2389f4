//! Amazon S3, and what speaks its protocol.
//!
//! Owns how it is asked that an object is created only where none is. Invariant: both handles to a bucket differ in nothing
//! but that. Must not know: what is uploaded.

use std::sync::Arc;

use async_trait::async_trait;
use downloader_core::{Error, ErrorKind, Result};
use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

/// A bucket, twice: the second completes uploads only where nothing is.
pub(crate) fn open<K: AsRef<str>, V: Into<String>>(
    bucket: &str,
    options: impl IntoIterator<Item = (K, V)>,
) -> Result<(Arc<dyn ObjectStore>, Arc<dyn ObjectStore>)> {
    let mut builder =
        AmazonS3Builder::new().with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch);
    for (name, value) in options {
        let name = name.as_ref();
        let key: AmazonS3ConfigKey =
            name.parse().map_err(|_| Error::input(format!("object store: unknown option {name} for S3")))?;
        builder = builder.with_config(key, value);
    }
    let built = |builder: AmazonS3Builder| {
        builder.build().map_err(|error| {
            Error::new(ErrorKind::Input, "object store: these options make no S3 store").with_source(error)
        })
    };
    let store = built(builder.clone())?;
    let creating = built(builder.with_http_connector(Creating))?;
    Ok((Arc::new(store), Arc::new(creating)))
}

/// Makes clients that complete uploads with `If-None-Match: *`.
///
/// `object_store` has the condition for single requests only. The field is not among those that S3 wants signed.
#[derive(Debug)]
struct Creating;

impl HttpConnector for Creating {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Conditional(inner)))
    }
}

#[derive(Debug)]
struct Conditional(HttpClient);

#[async_trait]
impl HttpService for Conditional {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if completes(request.method().as_str(), request.uri().query()) {
            let always = object_store::HeaderValue::from_static("*");
            request.headers_mut().insert("if-none-match", always);
        }
        self.0.execute(request).await
    }
}

/// `POST key?uploadId=…` completes an upload; with `uploads` it starts one.
fn completes(method: &str, query: Option<&str>) -> bool {
    method == "POST" && query.is_some_and(|query| query.split('&').any(|part| part.starts_with("uploadId=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_request_that_completes_is_conditional() {
        for (method, query, conditional) in [
            ("POST", Some("uploadId=a"), true),
            ("POST", Some("x=1&uploadId=a"), true),
            ("POST", Some("uploads="), false),
            ("PUT", Some("partNumber=1&uploadId=a"), false),
            ("DELETE", Some("uploadId=a"), false),
            ("POST", None, false),
        ] {
            assert_eq!(completes(method, query), conditional, "{method} {query:?}");
        }
    }
}
