//! By which way servers are reached: proxies, addresses, redirects, and what is not to be reached at all.
//!
//! Invariant: the environment names no proxy unless it is asked; no value of --proxy is part of a message. Must not
//! know: what is downloaded.

use std::collections::BTreeMap;
use std::net::IpAddr;

use downloader_core::net::{Guard, NoProxy, Pinned, Proxies, Proxy, SystemResolver};
use downloader_ftp::FtpBuilder;
use downloader_http::{HttpBuilder, RedirectPolicy};
use downloader_sftp::SftpBuilder;

use crate::plan::Problem;

const CONNECTION: &str = "Connection";

/// The options of this file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Connection {
    /// Go through this proxy: http://, https://, socks5:// or socks5h:// (which looks names up itself), with USER:PASSWORD@ before the host if it wants them. May be given several times: the next one is asked when one fails.
    #[arg(long, value_name = "URL", help_heading = CONNECTION)]
    proxy: Vec<String>,

    /// Ask these hosts directly although there is a proxy: `*`, or names, addresses and networks with commas between.
    #[arg(long, value_name = "LIST", help_heading = CONNECTION)]
    no_proxy: Option<String>,

    /// Go through the proxies that http_proxy, https_proxy, all_proxy and no_proxy name in the environment.
    #[arg(long, conflicts_with = "proxy", help_heading = CONNECTION)]
    proxy_from_environment: bool,

    /// Connect through this network interface.
    #[arg(long, value_name = "NAME", help_heading = CONNECTION)]
    interface: Option<String>,

    /// Connect from this address of this machine.
    #[arg(long, value_name = "IP", value_parser = address, help_heading = CONNECTION)]
    local_address: Option<IpAddr>,

    /// Connect to ADDRESS where a URL names HOST; may be given several times, for several addresses of a host too.
    #[arg(long, value_name = "HOST:ADDRESS", value_parser = pinned, help_heading = CONNECTION)]
    resolve: Vec<(String, IpAddr)>,

    /// Redirects to follow for one request [default: 10]; 0 follows none.
    #[arg(long, value_name = "N", value_parser = crate::values::whole::<u32, 0>, help_heading = CONNECTION)]
    max_redirects: Option<u32>,

    /// Ask https:// URLs only, where redirects lead too.
    #[arg(long, help_heading = CONNECTION)]
    https_only: bool,

    /// Connect to public addresses only: neither to this machine nor to its network, whatever a URL, a redirect or a name server says.
    #[arg(long, help_heading = CONNECTION)]
    public_only: bool,

    /// With --public-only, also to this network, such as 10.1.0.0/16, or this address; may be given several times.
    #[arg(long, value_name = "CIDR", requires = "public_only", help_heading = CONNECTION)]
    allow_network: Vec<String>,
}

impl Connection {
    /// Sets what was given.
    pub(crate) fn set(&self, mut http: HttpBuilder) -> Result<HttpBuilder, Problem> {
        if let Some(proxies) = self.proxies()? {
            http = http.proxies(proxies);
        }
        if let Some(name) = &self.interface {
            http = http.interface(name);
        }
        if !self.resolve.is_empty() {
            http = http.resolver(self.resolver());
        }
        if let Some(limit) = self.max_redirects {
            http = http.redirects(RedirectPolicy::new().limit(limit as usize));
        }
        if let Some(guard) = self.guard()? {
            http = http.guard(guard);
        }
        Ok(http.local_address(self.local_address))
    }

    /// Sets what was given, as far as it concerns SFTP.
    pub(crate) fn set_sftp(&self, mut sftp: SftpBuilder) -> Result<SftpBuilder, Problem> {
        if let Some(proxies) = self.proxies()? {
            sftp = sftp.proxies(proxies);
        }
        if let Some(name) = &self.interface {
            sftp = sftp.interface(name);
        }
        if !self.resolve.is_empty() {
            sftp = sftp.resolver(self.resolver());
        }
        if let Some(guard) = self.guard()? {
            sftp = sftp.guard(guard);
        }
        Ok(sftp.local_address(self.local_address))
    }

    /// The same for FTP.
    pub(crate) fn set_ftp(&self, mut ftp: FtpBuilder) -> Result<FtpBuilder, Problem> {
        if let Some(proxies) = self.proxies()? {
            ftp = ftp.proxies(proxies);
        }
        if let Some(name) = &self.interface {
            ftp = ftp.interface(name);
        }
        if !self.resolve.is_empty() {
            ftp = ftp.resolver(self.resolver());
        }
        if let Some(guard) = self.guard()? {
            ftp = ftp.guard(guard);
        }
        Ok(ftp.local_address(self.local_address))
    }

    fn proxies(&self) -> Result<Option<Proxies>, Problem> {
        let proxies = match (&self.proxy[..], self.proxy_from_environment) {
            ([], false) => return Ok(None),
            (_, true) => Proxies::from_environment().map_err(Problem::of("--proxy-from-environment"))?,
            (list, false) => {
                let mut proxies = Vec::with_capacity(list.len());
                for text in list {
                    proxies.push(Proxy::parse(text).map_err(Problem::of("--proxy"))?);
                }
                Proxies::new(proxies)
            }
        };
        let Some(list) = &self.no_proxy else { return Ok(Some(proxies)) };
        Ok(Some(proxies.except(NoProxy::parse(list).map_err(Problem::of("--no-proxy"))?)))
    }

    fn resolver(&self) -> Pinned {
        let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (host, address) in &self.resolve {
            hosts.entry(host.to_ascii_lowercase()).or_default().push(*address);
        }
        let pinned =
            hosts.into_iter().fold(Pinned::new(), |pinned, (host, addresses)| pinned.pin(&host, addresses));
        pinned.or(SystemResolver::new())
    }

    fn guard(&self) -> Result<Option<Guard>, Problem> {
        if !self.https_only && !self.public_only {
            return Ok(None);
        }
        let mut guard = if self.public_only { Guard::public() } else { Guard::any() };
        if self.https_only {
            guard = guard.schemes(["https"]).map_err(Problem::of("--https-only"))?;
        }
        for network in &self.allow_network {
            guard = guard.allow_network(network).map_err(Problem::of("--allow-network"))?;
        }
        Ok(Some(guard))
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "expected an IP address, such as 192.0.2.7 or 2001:db8::7".to_owned())
}

fn pinned(text: &str) -> Result<(String, IpAddr), String> {
    let (host, address) = text.split_once(':').unwrap_or_default();
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    match address.parse() {
        Ok(address) if !host.is_empty() => Ok((host.to_owned(), address)),
        _ => {
            Err("expected HOST:ADDRESS, such as example.org:192.0.2.7 or example.org:[2001:db8::7]"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_pinned_to_addresses_of_both_families() {
        let pin = |address: &str| Ok(("h.example".to_owned(), address.parse().unwrap()));
        assert_eq!(pinned("h.example:192.0.2.7"), pin("192.0.2.7"));
        assert_eq!(pinned("h.example:2001:db8::7"), pin("2001:db8::7"));
        assert_eq!(pinned("h.example:[2001:db8::7]"), pin("2001:db8::7"));
        for bad in ["", "h", ":192.0.2.7", "h:", "h:443:192.0.2.7", "h:[::1", "h:i.example"] {
            assert!(pinned(bad).unwrap_err().contains("HOST:ADDRESS"), "{bad}");
        }
    }

    #[test]
    fn no_proxy_and_no_guard_unless_asked() {
        let none = Connection::default();
        assert!(none.proxies().unwrap().is_none() && none.guard().unwrap().is_none());
        let only = Connection { https_only: true, ..Connection::default() };
        let guard = only.guard().unwrap().unwrap();
        assert!(guard.check_url(&"http://127.0.0.1/".parse().unwrap()).is_err());
        assert!(guard.check_url(&"https://127.0.0.1/".parse().unwrap()).is_ok());
    }
}
