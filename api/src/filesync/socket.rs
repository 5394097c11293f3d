//! `GET /api/v1/sync/ws/{device_id}`: a device is told of changes over one WebSocket.
//!
//! A frame says what the log says, so that a client can act at once; what a frame did not tell is in
//! the log. Nothing is queued for a slow client but a few events of the process: when they are too
//! many it is told to sync.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::response::Response;
use serde::Deserialize;
use sluice_store::filesync::{
    Caller, Event, Filesync, FilesyncError, Listener, Listening, Nudge, Preference, new_id,
};

use super::caller::member_of;
use super::frames::{self, ClientFrame, SyncReason};
use crate::auth::{self, Scope};
use crate::http::caller::bearer_token;
use crate::http::socket::{self, ClientMessage, Credentials, End, Outlet, Protocol};
use crate::openapi::{StreamErrors, SyncErrors};
use crate::{ApiError, AppState};

/// The device may not be told anything.
const INACTIVE: u16 = 4403;
/// There is no such device, or it was deleted.
const UNKNOWN_DEVICE: u16 = 4404;
/// The device has a newer socket.
const REPLACED: u16 = 4409;

/// The token, for browsers, which cannot set headers of a WebSocket.
#[derive(Deserialize)]
struct TokenParam {
    token: Option<String>,
}

/// Watch shares over a WebSocket
///
/// The token comes as a bearer token or as the parameter `token`; a wrong one is refused by closing
/// the WebSocket, since browsers do not show statuses. `{"type":"subscribe"}` begins: the answer
/// `{"type":"subscribed","shares":[{"share_id","cursor"}]}` names every share that the user can see and
/// that the device's preferences leave on. From then on each change is a frame
/// `{"event_type":"change","share_id","data"}`, but for the device's own and those that its preferences
/// filter out. `{"event_type":"force_sync","share_id","reason"}` asks the client to read `/changes`:
/// `missed`, `granted` or `preferences`. `{"event_type":"sync_preference_updated","share_id",
/// "device_id"}` says that preferences were changed. `{"type":"ping"}` is answered `{"type":"pong"}`;
/// `{"type":"auth","token"}` goes on with another token. Closed with 4401 (no token, a wrong one, or it
/// has expired), 4403 (the scope is missing, or the device is inactive), 4404 (there is no such device,
/// or it was deleted), 4408 (the client is too slow), 4409 (the device has a newer socket), 4429 (the
/// user has too many), 1008 (more than 10 frames in a second), 1001 (the server ends), 1013 (Valkey
/// does not answer).
#[utoipa::path(
    get,
    path = "/api/v1/sync/ws/{device_id}",
    operation_id = "openSyncSocket",
    tag = "filesync",
    params(
        ("device_id" = String, Path, description = "The device"),
        ("token" = Option<String>, Query, nullable = false, description = "The token, when it is not in the header"),
    ),
    responses(
        (status = 101, description = "The WebSocket is open"),
        SyncErrors,
        StreamErrors,
    ),
    security((), ("token" = ["files:read"])),
)]
pub(crate) async fn watch(
    State(state): State<AppState>,
    Path(device): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let token = match parts.headers.contains_key(AUTHORIZATION) {
        // One that is none is refused as a wrong one.
        true => Some(bearer_token(&parts.headers).unwrap_or_default().to_owned()),
        false => {
            let query = Query::<TokenParam>::from_request_parts(&mut parts, &state).await;
            let Query(TokenParam { token }) = query
                .map_err(|_| ApiError::InvalidRequest("token: must be given once".to_owned()))?;
            token
        }
    };
    let session = Session {
        files: state.filesync.clone(),
        device,
        id: new_id("soc"),
        member: None,
        listener: None,
        shares: BTreeMap::new(),
    };
    socket::open_with(&mut parts, &state, session, Credentials::Token(token)).await
}

/// One device that is connected.
struct Session {
    files: Filesync,
    device: String,
    /// Names this socket.
    id: String,
    member: Option<Member>,
    /// Once it has subscribed.
    listener: Option<Listener>,
    /// What it is told of, with its preferences.
    shares: BTreeMap<String, Option<Preference>>,
}

/// Whose device it is.
struct Member {
    caller: Caller,
    /// The number that the log knows the device by.
    number: u64,
}

impl Protocol for Session {
    const SCOPE: Scope = Scope::FilesRead;
    const OPEN_METRIC: &'static str = "sluice_sync_sockets";
    const CLOSED_METRIC: &'static str = "sluice_sync_sockets_closed_total";
    const MAX_FRAMES_PER_SECOND: u32 = 10;
    type Frame = ClientFrame;
    type Event = Event;

    fn read(text: &str) -> Result<ClientMessage<ClientFrame>, ApiError> {
        Ok(match ClientFrame::read(text)? {
            ClientFrame::Auth { token } => ClientMessage::Token(token),
            frame => ClientMessage::Frame(frame),
        })
    }

    fn refused(error: &ApiError) -> String {
        frames::error(error)
    }

    async fn admit(&mut self, caller: &auth::Caller, _: &mut Outlet<'_>) -> Result<(), End> {
        let caller = member_of(caller).map_err(|error| End::unauthorized(error.to_string()))?;
        if let Some(before) = &mut self.member {
            let old = &before.caller;
            if (&old.tenant, &old.user) != (&caller.tenant, &caller.user) {
                return Err(End::unauthorized("the token is another user's"));
            }
            if let Some(listener) = &mut self.listener {
                let listening = Listening {
                    device: &self.device,
                    number: before.number,
                };
                listener.attend(&caller, Some(listening));
            }
            before.caller = caller;
            return Ok(());
        }
        let number = self.number(&caller).await?;
        // Whichever process has an older socket of the device closes it.
        let device = caller.device(&self.device);
        let announced = self.files.announce_socket(device, number, &self.id).await;
        announced.map_err(|error| unavailable(&error))?;
        let listening = Listening {
            device: &self.device,
            number,
        };
        self.listener = Some(self.files.listen(&caller, Some(listening)).await);
        self.member = Some(Member { caller, number });
        Ok(())
    }

    async fn handle(&mut self, frame: ClientFrame, out: &mut Outlet<'_>) -> Result<(), End> {
        match frame {
            ClientFrame::Ping => out.send(frames::pong()).await,
            ClientFrame::Subscribe => self.subscribe(out).await,
            // Is read as who the client is.
            ClientFrame::Auth { .. } => Ok(()),
        }
    }

    async fn event(&mut self) -> Option<Event> {
        match &mut self.listener {
            Some(listener) => listener.next().await,
            None => None,
        }
    }

    async fn notify(&mut self, event: Event, out: &mut Outlet<'_>) -> Result<(), End> {
        match event {
            Event::Change(nudge) => {
                if self.is_told(&nudge) {
                    let frame = nudge.frame(|it| frames::change(&it.share, &it.change));
                    out.send_rendered(frame).await?;
                }
                Ok(())
            }
            // Something about the tenant's grants.
            Event::Missed(share) if share.is_empty() => Box::pin(self.refresh(out)).await,
            Event::Missed(share) if self.shares.contains_key(&*share) => {
                let frame = frames::force_sync(&share, SyncReason::Missed);
                out.send(frame).await
            }
            Event::Missed(_) => Ok(()),
            Event::Access(message) => Box::pin(self.hear(&message, out)).await,
        }
    }
}

impl Session {
    /// The number of the device, if it is there and active.
    async fn number(&self, caller: &Caller) -> Result<u64, End> {
        match self.files.device(caller.device(&self.device)).await {
            Ok(device) if device.is_active => Ok(device.number),
            Ok(_) => Err(End::close(INACTIVE, "DEVICE_INACTIVE")),
            Err(FilesyncError::NotFound(_)) => Err(unknown()),
            Err(error) => Err(unavailable(&error)),
        }
    }

    fn caller(&self) -> Result<Caller, End> {
        let member = self.member.as_ref();
        let caller = member.map(|member| member.caller.clone());
        caller.ok_or_else(|| End::unauthorized("a token is needed"))
    }

    async fn subscribe(&mut self, out: &mut Outlet<'_>) -> Result<(), End> {
        let caller = self.caller()?;
        self.look(&caller).await?;
        let shares = self.files.shares(&caller, None, usize::MAX).await;
        let (shares, _) = shares.map_err(|error| unavailable(&error))?;
        let told = shares
            .into_iter()
            .filter(|share| self.shares.contains_key(&share.id));
        let heads: Vec<_> = told.map(|share| (share.id, share.head)).collect();
        out.send(frames::subscribed(&heads)).await
    }

    /// Learns what the device is to be told of, and listens to that. Returns what was before.
    async fn look(&mut self, caller: &Caller) -> Result<BTreeMap<String, Option<Preference>>, End> {
        let all = self.files.share_ids(caller).await;
        let all = all.map_err(|error| unavailable(&error))?;
        let kept = match self.files.preferences(caller, &self.device).await {
            Ok(kept) => kept,
            Err(FilesyncError::NotFound(_)) => return Err(unknown()),
            Err(error) => return Err(unavailable(&error)),
        };
        let mut kept: BTreeMap<_, _> = kept
            .into_iter()
            .map(|(share, kept)| (share, kept.preference))
            .collect();
        let shares = all.into_iter().map(|share| {
            let preference = kept.remove(&share);
            (share, preference)
        });
        let is_on =
            |preference: &Option<Preference>| preference.as_ref().is_none_or(|it| it.sync_enabled);
        let shares = shares.filter(|(_, preference)| is_on(preference)).collect();
        let before = std::mem::replace(&mut self.shares, shares);
        if let Some(listener) = &mut self.listener {
            let lost = before.keys().filter(|it| !self.shares.contains_key(*it));
            lost.for_each(|share| listener.remove(share));
            listener.add(self.shares.keys().map(String::as_str)).await;
        }
        Ok(before)
    }

    /// Looks again, and tells the client what it may have missed by it.
    async fn refresh(&mut self, out: &mut Outlet<'_>) -> Result<(), End> {
        let caller = self.caller()?;
        self.number(&caller).await?;
        if self.shares.is_empty() {
            return Ok(());
        }
        let before = self.look(&caller).await?;
        for (share, preference) in &self.shares {
            match before.get(share) {
                None => {
                    let frame = frames::force_sync(share, SyncReason::Granted);
                    out.send(frame).await?;
                }
                Some(old) if old != preference => {
                    let frame = frames::preference_updated(share, &self.device);
                    out.send(frame).await?;
                    let frame = frames::force_sync(share, SyncReason::Preferences);
                    out.send(frame).await?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Hears of grants, devices and preferences of the tenant.
    async fn hear(&mut self, message: &str, out: &mut Outlet<'_>) -> Result<(), End> {
        let Some(Member { number, .. }) = &self.member else {
            return Ok(());
        };
        let socket = message.strip_prefix("s:").and_then(|it| it.split_once(' '));
        if let Some((device, socket)) = socket {
            if device == number.to_string() && socket != self.id {
                return Err(End::close(REPLACED, "the device has a newer socket"));
            }
            return Ok(());
        }
        self.refresh(out).await
    }

    /// Whether the device is told of a change.
    fn is_told(&self, nudge: &Nudge) -> bool {
        let number = self.member.as_ref().map(|it| it.number);
        if number == Some(nudge.device) {
            return false;
        }
        match self.shares.get(&*nudge.share) {
            None => false,
            Some(None) => true,
            Some(Some(preference)) => {
                let old = &nudge.old_folders;
                nudge.is_share
                    || !old.is_empty() && passes(preference, old)
                    || passes(preference, &nudge.folders)
            }
        }
    }
}

/// Whether preferences let a node through, which is the first of these, with the folders that hold it,
/// from the inmost one up: the nearest rule wins, and what is excluded comes before what is selected.
fn passes(preference: &Preference, nodes: &[String]) -> bool {
    let has = |ids: &Option<Vec<String>>, id| ids.as_ref().is_some_and(|ids| ids.contains(id));
    for id in nodes {
        if has(&preference.excluded_folders, id) {
            return false;
        }
        if has(&preference.selected_folders, id) {
            return true;
        }
    }
    preference.selected_folders.is_none()
}

fn unknown() -> End {
    End::close(UNKNOWN_DEVICE, "there is no such device")
}

fn unavailable(error: &FilesyncError) -> End {
    tracing::warn!(%error, "a share can no longer be watched");
    End::unavailable("the store does not answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(selected: Option<&[&str]>, excluded: Option<&[&str]>, nodes: &[&str]) -> bool {
        let owned = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
        let preference = Preference {
            sync_enabled: true,
            selected_folders: selected.map(owned),
            excluded_folders: excluded.map(owned),
        };
        passes(&preference, &owned(nodes))
    }

    #[test]
    fn the_nearest_rule_wins_and_exclusion_comes_first() {
        let nodes = ["file", "inner", "outer", "root"];
        assert!(told(None, None, &nodes));
        assert!(!told(Some(&[]), None, &nodes));
        assert!(told(Some(&["outer"]), None, &nodes));
        assert!(!told(None, Some(&["outer"]), &nodes));
        assert!(told(Some(&["inner"]), Some(&["outer"]), &nodes));
        assert!(!told(Some(&["outer"]), Some(&["inner"]), &nodes));
        assert!(!told(Some(&["inner"]), Some(&["inner"]), &nodes));
        assert!(!told(None, Some(&["inner"]), &["inner", "outer", "root"]));
    }
}
