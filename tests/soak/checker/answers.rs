//! Every answer is one that is documented: no server error but 503 with `Retry-After`, no error
//! without its shape.

use serde_json::Value;

use super::Op;
use crate::call::Call;
use crate::history::Answer;

pub(super) fn check(ops: &[Op]) -> Vec<String> {
    ops.iter().flat_map(of_op).collect()
}

fn of_op(op: &Op) -> Vec<String> {
    let Some((_, answer)) = op.answered else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    let Answer { status, body, .. } = answer;
    if *status >= 500 && *status != 503 {
        wrong.push("a server error that is not documented");
    }
    if *status == 503 && answer.retry_after.is_none() && !op.call.is_import() {
        wrong.push("503 without Retry-After");
    }
    if *status >= 400 && !has_error_shape(op.call, body) {
        wrong.push("an error without its shape");
    }
    let is_content = op.call.is_import() || matches!(op.call, Call::Download { .. });
    if *status < 400 && answer.text.is_some() && !is_content {
        wrong.push("a success whose body is no JSON");
    }
    if !is_expected(op.call, *status) {
        wrong.push("a status that this call cannot have here");
    }
    let outcomes = body["outcomes"].as_array();
    for outcome in outcomes.into_iter().flatten() {
        let status = outcome["status"].as_u64().unwrap_or_default();
        if status >= 500 && status != 503 {
            wrong.push("an outcome with a server error that is not documented");
        }
    }
    let tell = |wrong: &str| format!("op {}: {wrong}: {:?}: {answer:?}", op.number, op.call);
    wrong.into_iter().map(tell).collect()
}

fn has_error_shape(call: &Call, body: &Value) -> bool {
    if call.is_filesync() && body["detail"].is_string() {
        return body["code"].is_string();
    }
    let code = if call.is_import() { "code" } else { "error" };
    body[code].is_string() && body["message"].is_string()
}

/// Statuses below 500 that are right for what the load asks.
fn is_expected(call: &Call, status: u16) -> bool {
    let expected: &[u16] = match call {
        _ if status >= 500 => return true,
        Call::Create { .. } => &[201, 202],
        Call::Mark {
            expected: Some(_), ..
        } => &[200, 202, 409],
        Call::Mark { .. } | Call::Batch { .. } => &[200, 202],
        // The last life may not be over yet, and this one may be by now.
        Call::Live { .. } => &[201, 400, 409],
        Call::Grow { .. } => &[200, 202, 400, 404],
        Call::Step { .. } => &[200, 201, 202],
        Call::Read { .. } | Call::Job { .. } | Call::Import { .. } => &[200],
        // 409: invalidated meanwhile. Who leaves may be gone already.
        Call::Sync { user, .. } if !is_leaver(user) => &[200, 202, 409],
        Call::Sync { .. } | Call::Prefetch { .. } => &[200, 202, 404, 409],
        Call::Invalidate { user, .. } if !is_leaver(user) => &[200, 202],
        Call::Invalidate { .. } => &[200, 202, 404],
        Call::Entry { .. } => &[200, 404],
        Call::List { .. } => &[200, 409],
        Call::Share { .. } => &[201],
        Call::Device { .. } | Call::Upload { .. } => &[200, 201],
        Call::Edit { .. } | Call::Download { .. } | Call::Changes { .. } => &[200],
    };
    expected.contains(&status)
}

fn is_leaver(user: &str) -> bool {
    user.starts_with("leaver")
}
