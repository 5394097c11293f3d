//! How many connections there are, and who has them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{counter, gauge};
use tokio::net::TcpStream;

use super::Limits;

/// Said to who comes when there is no place, for whom no more is done than that.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\n\
    content-length: 67\r\n\
    retry-after: 2\r\n\
    connection: close\r\n\r\n\
    {\"error\":\"unavailable\",\"message\":\"there are too many connections\"}\n";

/// Counts the connections of one server.
pub(super) struct Gate {
    most: usize,
    most_of_address: Option<usize>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Kept only where addresses are limited.
    of_address: HashMap<IpAddr, usize>,
}

/// There is no place.
pub(super) struct Full;

/// A place that a connection has; free again when this is dropped.
pub(super) struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    pub fn new(limits: &Limits) -> Self {
        Self {
            most: limits.connections,
            most_of_address: limits.connections_per_address,
            taken: Mutex::default(),
        }
    }

    /// A place for a connection from there.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = network(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.most {
            counter!("sluice_http_connections_refused_total", "limit" => "all").increment(1);
            return Err(Full);
        }
        if let Some(most) = self.most_of_address {
            let of_address = taken.of_address.entry(address).or_default();
            if *of_address >= most {
                counter!("sluice_http_connections_refused_total", "limit" => "address")
                    .increment(1);
                return Err(Full);
            }
            *of_address += 1;
        }
        taken.all += 1;
        gauge!("sluice_http_connections").increment(1.0);
        Ok(Place {
            gate: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self
            .gate
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of_address) = taken.of_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.of_address.remove(&self.address);
            }
        }
        gauge!("sluice_http_connections").decrement(1.0);
    }
}

impl Full {
    /// Says so, if that can be done without waiting.
    pub fn tell(self, stream: &TcpStream) {
        let _ = stream.try_write(FULL);
    }
}

/// What counts as one address: of IPv6 the /64, which is what one machine usually has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn gate(connections: usize, connections_per_address: Option<usize>) -> Arc<Gate> {
        Arc::new(Gate::new(&Limits {
            connections,
            connections_per_address,
            head: Duration::MAX,
            idle: Duration::MAX,
        }))
    }

    fn admit(gate: &Arc<Gate>, address: &str) -> Option<Place> {
        gate.admit(address.parse().unwrap()).ok()
    }

    #[test]
    fn a_place_is_free_again_once_its_connection_has_ended() {
        let gate = gate(2, None);
        let first = admit(&gate, "192.0.2.1").unwrap();
        let _second = admit(&gate, "192.0.2.1").unwrap();
        assert!(admit(&gate, "192.0.2.2").is_none());
        drop(first);
        assert!(admit(&gate, "192.0.2.2").is_some());
    }

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let gate = gate(10, Some(1));
        let first = admit(&gate, "192.0.2.1").unwrap();
        assert!(admit(&gate, "::ffff:192.0.2.1").is_none());
        let _other = admit(&gate, "192.0.2.2").unwrap();
        drop(first);
        assert!(admit(&gate, "192.0.2.1").is_some());
        let _network = admit(&gate, "2001:db8::1").unwrap();
        assert!(admit(&gate, "2001:db8::2").is_none());
        assert!(admit(&gate, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
