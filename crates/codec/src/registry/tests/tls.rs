//! A registry whose certificate is signed by a CA that the system does not know.

use super::*;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

/// A self-signed certificate for 127.0.0.1 that is its own CA.
fn self_signed() -> Identity {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "registry test").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    let context = builder.x509v3_context(None, None);
    let address = SubjectAlternativeName::new().ip("127.0.0.1").build(&context).unwrap();
    builder.append_extension(address).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    Identity { certificate: builder.build(), key }
}

/// Serves the latest version of every subject and every id; returns its URL.
fn serve(identity: &Identity) -> String {
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&identity.certificate).unwrap();
    acceptor.set_private_key(&identity.key).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that does not trust the certificate ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let mut lines = BufReader::new(&mut stream).lines();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let body = json!({"id": 7, "version": 2, "schema": SCHEMA}).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", body.len());
            stream
                .write_all(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes())
                .unwrap();
            drop(stream.shutdown());
        }
    });
    url
}

#[tokio::test]
async fn a_registry_with_a_private_ca_is_trusted_with_its_ca_file_alone() {
    let identity = self_signed();
    let url = serve(&identity);
    let timeouts = Timeouts::default();
    let untrusting = Registry::with_timeouts(&settings(&[&url]), timeouts).unwrap();
    for error in
        [untrusting.schema(7).await.unwrap_err(), untrusting.latest("s").await.unwrap_err()]
    {
        let shown = error.to_string();
        assert!(shown.to_lowercase().contains("certificate"), "{shown}");
    }
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, identity.certificate.to_pem().unwrap()).unwrap();
    let trusting = Settings { ca_file: Some(ca_file), ..settings(&[&url]) };
    let trusting = Registry::with_timeouts(&trusting, timeouts).unwrap();
    assert_eq!(trusting.schema(7).await.unwrap().text(), SCHEMA);
    assert_eq!(trusting.latest("s").await.unwrap().unwrap().id, 7);
}
