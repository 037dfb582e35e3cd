//! How an endpoint is connected to: certificates, the way out, and which addresses may be.

use super::addresses::proxy;
use super::files::{self, Pem};
use super::problems::Fault;
use super::reader::{Node, Section};
use super::settings::TransportSettings;

pub(super) fn transport(section: &Section<'_>) -> TransportSettings {
    let proxy = section.optional("proxy", proxy);
    TransportSettings {
        ca: section.optional("ca", |node| files::pem(node, Pem::Certificate)),
        client_identity: files::identity(section, "client_cert", "client_key"),
        public_only: public_only(section, proxy.is_some()),
        proxy,
    }
}

/// Whether `allow_private` is false.
fn public_only(section: &Section<'_>, proxied: bool) -> bool {
    let public_only = !section.or("allow_private", true, Node::boolean);
    if let Some(node) = section
        .get("allow_private")
        .filter(|_| public_only && proxied)
    {
        let found = "is false where a proxy resolves the name and makes the connection";
        let hint = "let the proxy refuse private addresses, or leave out one of the two";
        node.fault(Fault::new(found, "true, or no proxy").hint(hint));
    }
    public_only
}
