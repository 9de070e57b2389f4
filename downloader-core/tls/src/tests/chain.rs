//! Who is believed: roots, names, times, pins, and what can be switched off.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, NameConstraints, date_time_ymd};
use rustls::version::{TLS12, TLS13};

use super::*;

const UNKNOWN: &str =
    "issuer unknown: neither the system nor the given root certificates vouch for the certificate";
const SELF_SIGNED: &str = "the certificate is self-signed, and not one of the given root certificates";
const WRONG_NAME: &str = "the certificate is not for this host (it names: wrong.example)";
const EXPIRED: &str = "a certificate of the chain expired on Mon, 01 Jan 2001 00:00:00 GMT (now ";

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2001, 1, 1);
    params
}

/// biomaj 37: a self-signed certificate with a wrong name. As tools make them by default, it is an authority's.
#[tokio::test]
async fn biomaj_37_a_self_signed_certificate_with_a_wrong_name() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = of_server(&["wrong.example"]);
        params.is_ca = is_ca;
        let identity = Identity::self_signed(&params);
        for version in [&TLS12, &TLS13] {
            let server = identity.serve_only(version);
            let default = TlsSettings::new();
            assert_eq!(failure(&default, "right.example", &server).await, SELF_SIGNED);
            let own = default.clone().root_certificate(identity.pem.clone());
            assert_eq!(failure(&own, "right.example", &server).await, WRONG_NAME);
            succeeds(&own.clone().danger_skip_host_name_check(true), "right.example", &server).await;
            succeeds(&own, "wrong.example", &server).await;
            let no_chain = default.clone().danger_skip_chain_check(true);
            succeeds(&no_chain.clone().danger_skip_host_name_check(true), "right.example", &server).await;
            assert_eq!(failure(&no_chain, "right.example", &server).await, WRONG_NAME);
            succeeds(&no_chain, "wrong.example", &server).await;
            let no_name = default.danger_skip_host_name_check(true);
            assert_eq!(failure(&no_name, "right.example", &server).await, SELF_SIGNED);
        }
    }
}

/// pulp G4, and skroutz 45: what is wrong is of kind `Tls`, said in plain words, and not retried.
#[tokio::test]
async fn pulp_g4_own_authority_wrong_host_and_expired_certificates() {
    let root = Authority::new();
    let trusting = only(&root);
    let server = root.issue(&["a.example", "*.b.example", "127.0.0.1"]).serve();
    for host in ["a.example", "A.Example.", "x.b.example", "127.0.0.1"] {
        succeeds(&trusting, host, &server).await;
        // Beside those of the system.
        succeeds(&TlsSettings::new().root_certificate(root.pem()), host, &server).await;
    }
    for host in ["b.example", "x.y.b.example", "127.0.0.2", "[::1]"] {
        assert_eq!(
            failure(&trusting, host, &server).await,
            "the certificate is not for this host (it names: a.example, *.b.example, 127.0.0.1)",
        );
    }
    assert_eq!(failure(&only(&Authority::new()), "a.example", &server).await, UNKNOWN);
    assert_eq!(failure(&TlsSettings::new(), "a.example", &server).await, UNKNOWN);

    let server = root.sign(&expired(of_server(&["a.example"]))).serve();
    assert!(failure(&trusting, "a.example", &server).await.starts_with(EXPIRED));
    assert!(failure(&TlsSettings::new(), "a.example", &server).await.starts_with(EXPIRED));
    succeeds(&trusting.clone().danger_skip_chain_check(true), "a.example", &server).await;
    let mut later = of_server(&["a.example"]);
    later.not_before = date_time_ymd(4000, 1, 1);
    later.not_after = date_time_ymd(4001, 1, 1);
    assert!(failure(&trusting, "a.example", &root.sign(&later).serve()).await.starts_with(
        "a certificate of the chain is not yet valid: only from Sat, 01 Jan 4000 00:00:00 GMT on (now "
    ));
}

#[tokio::test]
async fn a_name_in_the_subject_does_not_count() {
    let root = Authority::new();
    let mut params = of_server(&[]);
    params.distinguished_name.push(DnType::CommonName, "a.example");
    let server = root.sign(&params).serve();
    let words = "the certificate is not for this host (it names none)";
    assert_eq!(failure(&only(&root), "a.example", &server).await, words);
}

#[tokio::test]
async fn a_host_that_no_certificate_can_name() {
    let root = Authority::new();
    let server = root.issue(&["a.example"]).serve();
    for host in ["", ".", "a b", "a..b", "[::1"] {
        let words = "a host name that no certificate can hold";
        let (near, _far) = duplex(64);
        let error = Tls::new(&only(&root)).unwrap().handshake(host, &[], near).await.map(|_| ()).unwrap_err();
        assert_eq!((error.kind(), error.what()), (ErrorKind::Tls, words), "{host:?}");
    }
    succeeds(&only(&root), "a.example.", &server).await;
}

#[tokio::test]
async fn the_chain_must_be_whole_and_in_time() {
    let root = Authority::new();
    let between = root.below(authority("between"));
    let mut identity = between.issue(&["a.example"]);
    succeeds(&only(&root), "a.example", &identity.serve()).await;
    // An authority between may be given as well, or the certificate itself.
    succeeds(&only(&between), "a.example", &identity.serve()).await;
    let itself = TlsSettings::new().root_certificate(identity.pem.clone());
    succeeds(&itself, "a.example", &identity.serve()).await;
    identity.chain.truncate(1);
    assert_eq!(failure(&only(&root), "a.example", &identity.serve()).await, UNKNOWN);

    let server = root.below(expired(authority("between"))).issue(&["a.example"]).serve();
    assert!(failure(&only(&root), "a.example", &server).await.starts_with(EXPIRED));
    // The system's roots know nothing of it, and what they say is not what is told.
    let beside = TlsSettings::new().root_certificate(root.pem());
    assert!(failure(&beside, "a.example", &server).await.starts_with(EXPIRED));
}

#[tokio::test]
async fn the_name_of_an_authority_is_not_its_signature() {
    let (old, new) = (Authority::of(authority("root")), Authority::of(authority("root")));
    let server = new.issue(&["a.example"]).serve();
    let words = "a certificate of the chain names a known issuer, which did not sign it";
    assert_eq!(failure(&only(&old), "a.example", &server).await, words);
    let beside = TlsSettings::new().root_certificate(old.pem());
    assert_eq!(failure(&beside, "a.example", &server).await, words);
    succeeds(&only(&old).root_certificate(new.pem()), "a.example", &server).await;
}

#[tokio::test]
async fn a_given_root_has_to_be_in_time() {
    let root = Authority::of(expired(authority("old root")));
    let server = root.issue(&["a.example"]).serve();
    let words = format!("the given root certificate does not count: {EXPIRED}");
    assert!(failure(&only(&root), "a.example", &server).await.starts_with(&words));
    let beside = TlsSettings::new().root_certificate(root.pem());
    assert!(failure(&beside, "a.example", &server).await.starts_with(&words));
    // It does not stand in the way of others.
    let both = only(&root).root_certificate(Authority::new().pem());
    assert!(failure(&both, "a.example", &server).await.starts_with(&words));
    let other = Authority::new();
    let server = other.issue(&["a.example"]).serve();
    succeeds(&both.root_certificate(other.pem()), "a.example", &server).await;

    let own = Identity::self_signed(&expired(of_server(&["a.example"])));
    let given = TlsSettings::new().root_certificate(own.pem.clone());
    assert!(failure(&given, "a.example", &own.serve()).await.starts_with(EXPIRED));
}

#[tokio::test]
async fn a_certificate_for_something_else() {
    let root = Authority::new();
    let mut params = of_server(&["a.example"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let words = failure(&only(&root), "a.example", &root.sign(&params).serve()).await;
    assert_eq!(words, "the certificate is not meant for a server");
    let mut params = of_server(&["a.example"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let words = failure(&only(&root), "a.example", &root.sign(&params).serve()).await;
    assert_eq!(words, "the certificate is an authority's, not a server's");

    let mut narrow = authority("narrow");
    let permitted_subtrees = vec![GeneralSubtree::DnsName("b.example".to_owned())];
    narrow.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    let server = root.below(narrow).issue(&["a.example"]).serve();
    let words = failure(&only(&root), "a.example", &server).await;
    assert_eq!(words, "the authority may not vouch for these names");
}

#[tokio::test]
async fn a_server_without_the_key_is_refused_whatever_is_switched_off() {
    use rustls::server::ResolvesServerCertUsingSni;
    use rustls::sign::CertifiedKey;

    let root = Authority::new();
    let (known, thief) = (root.issue(&["a.example"]), KeyPair::generate().unwrap());
    let provider = aws_lc_rs::default_provider();
    let key = PrivateKeyDer::Pkcs8(thief.serialize_der().into());
    let key = provider.key_provider.load_private_key(key).unwrap();
    for version in [&TLS12, &TLS13] {
        let mut resolver = ResolvesServerCertUsingSni::new();
        resolver.add("a.example", CertifiedKey::new(known.chain.clone(), Arc::clone(&key))).unwrap();
        let mut server = known.server(&[version], None);
        server.cert_resolver = Arc::new(resolver);
        let server = Arc::new(server);
        let settings = only(&root).danger_skip_chain_check(true).danger_skip_host_name_check(true);
        for settings in [only(&root), settings, only(&root).pinned_key(known.pin())] {
            let words = failure(&settings, "a.example", &server).await;
            assert_eq!(words, "the server does not have the key of its certificate");
        }
    }
}

#[tokio::test]
async fn pinned_keys_are_asked_for_on_top_of_all_else() {
    const MISSING: &str = "the pinned key is not in the chain";
    let (root, other) = (Authority::new(), Authority::new());
    let between = root.below(authority("between"));
    let identity = between.issue(&["a.example", "b.example"]);
    let server = identity.serve();
    let pinned = |pin: &str| only(&root).pinned_key(pin);
    succeeds(&pinned(&identity.pin()), "a.example", &server).await;
    succeeds(&pinned(&between.pin), "a.example", &server).await;
    succeeds(&pinned(&format!("{};{}", other.pin, identity.pin())), "a.example", &server).await;
    succeeds(&pinned(&other.pin).pinned_key(identity.pin()), "a.example", &server).await;
    assert_eq!(failure(&pinned(&other.pin), "a.example", &server).await, MISSING);
    // The server does not send its root, and a pin is no authority.
    assert_eq!(failure(&pinned(&root.pin), "a.example", &server).await, MISSING);
    let words = failure(&only(&other).pinned_key(identity.pin()), "a.example", &server).await;
    assert_eq!(words, UNKNOWN);
    let words = failure(&pinned(&identity.pin()), "c.example", &server).await;
    assert!(words.starts_with("the certificate is not for this host"), "{words}");

    let by_host = pinned(&other.pin).pinned_key_for("A.example", identity.pin());
    succeeds(&by_host, "a.example", &server).await;
    assert_eq!(failure(&by_host, "b.example", &server).await, MISSING);

    // Without a checked chain only the server's own key counts.
    let unchecked = |pin: &str| pinned(pin).danger_skip_chain_check(true);
    succeeds(&unchecked(&identity.pin()), "a.example", &server).await;
    assert_eq!(failure(&unchecked(&between.pin), "a.example", &server).await, MISSING);
}

#[tokio::test]
async fn a_certificate_that_is_only_sent_along_carries_no_pin() {
    let root = Authority::new();
    let pinned = root.below(authority("pinned"));
    let mut thief = root.below(authority("other")).issue(&["a.example"]);
    thief.chain.push(pinned.certificate.der().clone());
    let words = failure(&only(&root).pinned_key(&pinned.pin), "a.example", &thief.serve()).await;
    assert_eq!(words, "the pinned key is not in the chain");
}

#[tokio::test]
async fn settings_are_refused_by_name() {
    let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let expected = "; expected PEM, `-----BEGIN CERTIFICATE-----`";
    let key = Identity::self_signed(&of_server(&[])).key.serialize_pem();
    let cases = [
        ("", "root certificate: none found"),
        ("hello", "root certificate: none found"),
        (&key, "root certificate: none found"),
        (malformed, "root certificate: not usable as a root"),
        (&key.replace('\n', ""), "root certificate: malformed PEM: a section without an END line"),
    ];
    for (pem, words) in cases {
        let error = Tls::new(&TlsSettings::new().root_certificate(pem)).unwrap_err();
        assert_eq!((error.kind(), error.what()), (ErrorKind::Input, &*format!("{words}{expected}")));
        assert!(!format!("{error:?}").contains(&key[40..60]), "{error:?}");
    }
    let error = Tls::new(&TlsSettings::new().only_root_certificates(true)).unwrap_err();
    assert_eq!(error.what(), "only root certificates: none is given, so no server could be trusted");
    let error = Tls::new(&TlsSettings::new().pinned_key("sha256//x")).unwrap_err();
    assert_eq!(error.what(), "pinned key: expected `sha256//` and 44 characters of base64");
}
