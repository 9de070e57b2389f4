//! Client certificates: how they are read, who sees them, and what a server says of them.

use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::{ClientCertificate, refusal};

/// The key within PKCS #8 (RFC 5208): the only octet string beside an algorithm and a version.
fn inner(pkcs8: &[u8]) -> &[u8] {
    fn value(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, start) = match der[1] {
            short @ ..=0x7f => (usize::from(short), 2),
            0x81 => (usize::from(der[2]), 3),
            _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        };
        der[start..].split_at(length)
    }
    let (sequence, _) = value(pkcs8);
    let (_version, rest) = value(sequence);
    let (_algorithm, rest) = value(rest);
    value(rest).0
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// What a client meets who shows this, behind the handshake too.
async fn outcome(settings: &TlsSettings, server: &Arc<ServerConfig>) -> Result<()> {
    let tls = Tls::new(settings).unwrap();
    let (near, far) = duplex(64 << 10);
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    let accept = async { acceptor.accept(far).await.map(|_| ()) };
    let (near, _) = tokio::join!(tls.handshake("a.example", &[], near), accept);
    match near?.read_to_end(&mut Vec::new()).await {
        // It was accepted, and dropped.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(refusal(&error).unwrap()),
        Ok(_) => panic!("nobody said goodbye"),
    }
}

/// pulp G4.
#[tokio::test]
async fn pulp_g4_client_certificates_are_shown_to_who_asks() {
    let (root, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let identity = root.issue(&["a.example"]);
    let read = |identity: &Identity| ClientCertificate::from_pem(identity.pem_with_key()).unwrap();
    let known = read(&clients.sign(&of_client("known")));
    let stranger = read(&strangers.sign(&of_client("stranger")));
    let between = clients.below(authority("between")).sign(&of_client("far"));
    let chain: String = between.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    let far = ClientCertificate::from_pem_pair(chain, between.key.serialize_pem()).unwrap();
    for version in [&TLS12, &TLS13] {
        let server = identity.serve_known(version, &clients);
        let trusting = only(&root);
        outcome(&trusting.clone().client_certificate(known.clone()), &server).await.unwrap();
        outcome(&trusting.clone().client_certificate(far.clone()), &server).await.unwrap();
        let by_host = trusting.clone().client_certificate(stranger.clone());
        outcome(&by_host.client_certificate_for("A.example", known.clone()), &server).await.unwrap();

        let refused = "the server refused our client certificate: issuer unknown";
        let cases = [
            (trusting.clone(), "the server wants a client certificate"),
            (
                trusting.clone().client_certificate_for("b.example", known.clone()),
                "the server wants a client certificate",
            ),
            (trusting.clone().client_certificate(stranger.clone()), refused),
        ];
        for (settings, words) in cases {
            let error = outcome(&settings, &server).await.unwrap_err();
            assert_eq!((error.kind(), error.what()), (ErrorKind::Tls, words));
            assert!(!error.is_transient());
        }
        // Who does not ask sees none.
        let (_, far) = meet(
            &Tls::new(&trusting.client_certificate(known.clone())).unwrap(),
            "a.example",
            &identity.serve_only(version),
        )
        .await
        .unwrap();
        assert!(far.get_ref().1.peer_certificates().is_none());
    }
}

#[tokio::test]
async fn a_proxy_sees_no_client_certificate_and_is_checked_in_full() {
    async fn with_proxy(settings: &TlsSettings, server: &Arc<ServerConfig>) -> Result<bool> {
        let (near, far) = duplex(64 << 10);
        let acceptor = TlsAcceptor::from(Arc::clone(server));
        let tls = Tls::new(settings).unwrap();
        let (near, far) =
            tokio::join!(tls.handshake_with_proxy("a.example", &["http/1.1"], near), acceptor.accept(far));
        near.map(|_| far.unwrap().get_ref().1.peer_certificates().is_some())
    }
    let (root, clients) = (Authority::new(), Authority::new());
    let identity = root.issue(&["a.example"]);
    let known = ClientCertificate::from_pem(clients.sign(&of_client("known")).pem_with_key()).unwrap();
    let settings = only(&root).client_certificate(known.clone()).client_certificate_for("a.example", known);
    let server = identity.serve_known(&TLS12, &clients);
    let error = with_proxy(&settings, &server).await.unwrap_err();
    assert_eq!(error.what(), "the server wants a client certificate");
    assert!(!with_proxy(&settings, &identity.serve()).await.unwrap());

    // A pin for all is for those behind the proxy; one of its own name is for it.
    let settings = settings.pinned_key(&clients.pin);
    assert!(!with_proxy(&settings, &identity.serve()).await.unwrap());
    let error =
        with_proxy(&settings.pinned_key_for("a.example", &clients.pin), &identity.serve()).await.unwrap_err();
    assert_eq!(error.what(), "the pinned key is not in the chain");
    let careless = only(&clients).danger_skip_chain_check(true).danger_skip_host_name_check(true);
    let error = with_proxy(&careless, &identity.serve()).await.unwrap_err();
    assert!(error.what().starts_with("issuer unknown"), "{error}");
}

#[tokio::test]
async fn keys_of_every_form_are_read_and_used() {
    let (root, clients) = (Authority::new(), Authority::new());
    let server = root.issue(&["a.example"]);
    for algorithm in
        [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let identity = clients.sign_for(&of_client("known"), key);
        let pkcs8 = identity.key.serialize_der();
        let mut keys = vec![pem("PRIVATE KEY", &pkcs8)];
        if algorithm == &PKCS_RSA_SHA256 {
            keys.push(pem("RSA PRIVATE KEY", inner(&pkcs8)));
        } else if algorithm != &PKCS_ED25519 {
            let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
            keys.push(parameters.to_owned() + &pem("EC PRIVATE KEY", inner(&pkcs8)));
        }
        for key in keys {
            let certificate = &identity.pem;
            let texts = [
                format!("{certificate}{key}"),
                format!("{key}{certificate}"),
                format!("{key}{certificate}").replace('\n', "\r\n"),
            ];
            for text in texts {
                ClientCertificate::from_pem(text).unwrap();
            }
            let pair = ClientCertificate::from_pem_pair(certificate, key).unwrap();
            for version in [&TLS12, &TLS13] {
                let server = server.serve_known(version, &clients);
                outcome(&only(&root).client_certificate(pair.clone()), &server).await.unwrap();
            }
        }
    }
}

#[test]
fn what_cannot_be_used_is_refused_and_no_key_is_told() {
    let identity = Identity::self_signed(&of_client("known"));
    let (certificate, key) = (&identity.pem, &identity.key.serialize_pem());
    let other = &KeyPair::generate().unwrap().serialize_pem();
    let encrypted = &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A\n\nAAAA\n\
               -----END RSA PRIVATE KEY-----\n";
    let cut = &pem("PRIVATE KEY", &identity.key.serialize_der()[..40]);
    let malformed = &pem("CERTIFICATE", b"hello");
    let one_line = &key.replace('\n', "");
    let cases: [(&[&str], &str); 11] = [
        (&[], "no certificate; expected PEM, `-----BEGIN CERTIFICATE-----`"),
        (&["hello"], "no certificate; expected PEM, `-----BEGIN CERTIFICATE-----`"),
        (&[key], "no certificate; expected PEM, `-----BEGIN CERTIFICATE-----`"),
        (&[certificate], "no key; expected PEM, such as `-----BEGIN PRIVATE KEY-----`"),
        (&[certificate, key, other], "more than one key"),
        (&[certificate, other], "the key does not belong to the first certificate"),
        (&[certificate, encrypted], "its key is encrypted; expected one without a password"),
        (&[certificate, old], "its key is encrypted; expected one without a password"),
        (&[certificate, cut], "the key is malformed or of an unknown kind; accepted: RSA, ECDSA, Ed25519"),
        (&[malformed, key], "the first certificate is malformed, or not X.509 version 3"),
        (&[certificate, one_line], "malformed PEM: a section without an END line"),
    ];
    for (texts, words) in cases {
        let error = ClientCertificate::from_pem(texts.concat()).unwrap_err();
        assert_eq!(
            (error.kind(), error.what()),
            (ErrorKind::Input, &*format!("client certificate: {words}"))
        );
        for line in key.lines().chain(other.lines()).filter(|line| !line.starts_with('-')) {
            assert!(!format!("{error:?}").contains(line), "{error:?}");
        }
    }

    let shown = ClientCertificate::from_pem(identity.pem_with_key()).unwrap();
    let settings = TlsSettings::new()
        .client_certificate(shown.clone())
        .client_certificate_for("a.example", shown)
        .root_certificate(identity.pem_with_key());
    assert_eq!(
        format!("{settings:?}"),
        "TlsSettings { root_certificates: 1, only_root_certificates: false, client_certificate: Some(ClientCertificate { certificates: 1, .. }), client_certificates_of_hosts: [(\"a.example\", ClientCertificate { certificates: 1, .. })], minimum_version: Tls12, pins: [], skip_chain_check: false, skip_host_name_check: false }"
    );
    assert_eq!(format!("{:?}", Tls::new(&settings).unwrap()), "Tls");
    let error = Tls::new(
        &TlsSettings::new()
            .client_certificate_for("a b", ClientCertificate::from_pem(identity.pem_with_key()).unwrap()),
    )
    .unwrap_err();
    assert_eq!(error.what(), "host of a client certificate: expected a host name or an address");
}
