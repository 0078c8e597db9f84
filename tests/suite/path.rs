//! The network between the function and a server: a TCP forwarder that is cut, or becomes a black hole, when it is
//! told to. What a black hole has not forwarded by then is kept and goes out when the path is back, as TCP would send it again.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// The path to a server. When it is dropped, its connections end.
pub(crate) struct Path {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Which connections are black. Neither side is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Black {
    /// Those that are open, as behind a firewall that has forgotten them: others are made and work.
    Open,
    /// All: what is opened gets no answer.
    All,
}

struct Shared {
    server_port: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    opened: u64,
    /// Both sides of each connection that is open.
    open: HashMap<u64, [TcpStream; 2]>,
    /// Connections with a lower number are black.
    black_below: u64,
    /// What the server may still send until these connections become black.
    fuse: Option<(usize, Black)>,
    /// Whether what clients send is kept, and how often it was.
    holds_requests: bool,
    held_requests: usize,
    is_over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Path {
    /// Leads from a free port of 127.0.0.1 to this port of it.
    pub(crate) fn to(server_port: u16) -> Self {
        Self::from((Ipv4Addr::LOCALHOST, 0).into(), server_port)
    }

    /// Leads from this address to a port of 127.0.0.1.
    pub(crate) fn from(address: SocketAddr, server_port: u16) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { server_port, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let mut state = accepting.state.lock().unwrap();
                if state.is_over {
                    return;
                }
                let number = state.opened;
                state.opened += 1;
                drop(state);
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(client, number));
            }
        });
        Self { address, shared }
    }

    /// Where clients connect.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on these connections are black.
    pub(crate) fn goes_black(&self, which: Black) {
        self.shared.change(|state| state.go_black(which));
    }

    /// These connections become black as soon as so many more bytes have come from the server.
    pub(crate) fn goes_black_after(&self, bytes: usize, which: Black) {
        self.shared.change(|state| state.fuse = Some((bytes, which)));
    }

    /// Ends the connections that are open.
    pub(crate) fn is_cut(&self) {
        self.shared.state.lock().unwrap().open.values().for_each(end);
    }

    /// Keeps what clients send. What servers send still goes through.
    pub(crate) fn hold_requests(&self) {
        self.shared.change(|state| state.holds_requests = true);
    }

    /// Waits until it keeps something that a client has sent since [`Path::hold_requests`].
    pub(crate) fn wait_for_a_held_request(&self) {
        let state = self.shared.state.lock().unwrap();
        drop(self.shared.changed.wait_while(state, |state| state.held_requests == 0).unwrap());
    }

    /// The path is back, with all that was sent on it.
    pub(crate) fn is_back(&self) {
        self.shared.change(|state| {
            state.black_below = 0;
            state.fuse = None;
            state.holds_requests = false;
        });
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.shared.change(|state| state.is_over = true);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn go_black(&mut self, which: Black) {
        self.black_below = match which {
            Black::Open => self.opened,
            Black::All => u64::MAX,
        };
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until the connection is not black; an error when there will be no path any more.
    fn pass(&self, number: u64) -> io::Result<()> {
        let state = self.state.lock().unwrap();
        let is_black = |state: &mut State| !state.is_over && number < state.black_below;
        match self.changed.wait_while(state, is_black).unwrap().is_over {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    fn serve(self: Arc<Self>, client: TcpStream, number: u64) {
        let connect = || -> io::Result<_> {
            self.pass(number)?;
            let server = TcpStream::connect((IpAddr::from(Ipv4Addr::LOCALHOST), self.server_port))?;
            Ok((client.try_clone()?, server.try_clone()?, server))
        };
        // A server that is not there is a connection that ends.
        let Ok((from_client, to_server, from_server)) = connect() else { return };
        let ends = [&client, &from_server].map(|stream| stream.try_clone().unwrap());
        self.state.lock().unwrap().open.insert(number, ends);
        let shared = Arc::clone(&self);
        let there =
            thread::spawn(move || shared.forward(number, Direction::ToServer, from_client, to_server));
        self.forward(number, Direction::ToClient, from_server, client);
        there.join().unwrap();
        self.state.lock().unwrap().open.remove(&number);
    }

    fn forward(&self, number: u64, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        if self.copy(number, direction, &mut from, &mut to).is_err() {
            end(&[from, to]);
        }
    }

    fn copy(
        &self,
        number: u64,
        direction: Direction,
        from: &mut TcpStream,
        to: &mut TcpStream,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = from.read(&mut buffer)?;
            let mut bytes = &buffer[..count];
            if direction == Direction::ToServer {
                self.hold_request()?;
            } else if let Some(passing) = self.burn(count) {
                to.write_all(&bytes[..passing])?;
                bytes = &bytes[passing..];
            }
            self.pass(number)?;
            if count == 0 {
                return to.shutdown(Shutdown::Write);
            }
            to.write_all(bytes)?;
        }
    }

    /// How many of so many bytes from the server still pass, if the path becomes black among them.
    fn burn(&self, count: usize) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        let (left, which) = state.fuse?;
        state.fuse = Some((left.saturating_sub(count), which));
        if left > count {
            return None;
        }
        state.fuse = None;
        state.go_black(which);
        Some(left)
    }

    fn hold_request(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.holds_requests {
            state.held_requests += 1;
            self.changed.notify_all();
        }
        let is_held = |state: &mut State| !state.is_over && state.holds_requests;
        match self.changed.wait_while(state, is_held).unwrap().is_over {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

/// A side that is gone already says so, which is no matter.
fn end(sides: &[TcpStream; 2]) {
    for side in sides {
        let _ = side.shutdown(Shutdown::Both);
    }
}
