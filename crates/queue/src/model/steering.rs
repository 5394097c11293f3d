//! What operators do.

use super::{Twins, USERS};
use crate::keys::root;
use crate::operate::Operated;

impl Twins {
    pub fn operate(&mut self, operation: &str) -> String {
        // Mostly something that the operation does something to.
        let fitting = match self.one_of(&[operation, operation, "any"]) {
            "retry" => self.any_job(|state| matches!(state, "dead" | "cancelled")),
            _ => self.any_job(|_| true),
        };
        let Some(id) = fitting else {
            return "no job".into();
        };
        let answer: Operated = self.eval(
            |it| &it.operate,
            &[operation.into(), id.clone(), String::new()],
        );
        let did = format!("{operation} {id}");
        assert_eq!(answer, self.reference.operate(operation, &id), "{did}");
        did
    }

    pub fn set_paused(&mut self, paused: bool) -> String {
        let _: i64 = self.eval(|it| &it.pause, &[u8::from(paused).to_string()]);
        self.reference.paused = paused;
        format!("paused: {paused}")
    }

    pub fn set_limits(&mut self, limit: Option<usize>, user_limit: Option<usize>) -> String {
        let arguments = [limit, user_limit]
            .map(|limit| limit.map_or_else(String::new, |limit| limit.to_string()));
        let _: i64 = self.eval(|it| &it.limit, &arguments);
        self.reference.set_limits(limit, user_limit);
        format!("limits {limit:?} {user_limit:?}")
    }

    /// Those that do not depend on the time of the day.
    pub fn rate(&mut self) -> Option<&'static str> {
        self.one_of(&[
            None,
            None,
            Some("sliding/3/3600000/0"),
            Some("sliding/6/3600000/0"),
            Some("bucket/1/3600000/4"),
        ])
    }

    pub fn set_rates(
        &mut self,
        rate: Option<&'static str>,
        user_rate: Option<&'static str>,
    ) -> String {
        let arguments = [rate, user_rate].map(|rate| rate.unwrap_or_default().to_owned());
        let _: i64 = self.eval(|it| &it.rate, &arguments);
        self.reference.set_rates(rate, user_rate);
        format!("rates {rate:?} {user_rate:?}")
    }

    /// The starts that a rate of the queue or a user has counted are out of its window.
    pub fn window_passes(&mut self) -> String {
        let user = self.one_of(&[None, Some(USERS[0]), Some(USERS[1])]);
        if let Some(rate) = self.reference.rate_of(user) {
            let user = user.map(|user| format!(":{user}")).unwrap_or_default();
            redis::cmd("DEL")
                .arg(format!("{}started:{rate}{user}", root("q")))
                .exec(&mut self.valkey)
                .unwrap();
        }
        if let Some(user) = user {
            redis::cmd("ZADD")
                .arg(root("q") + "throttled_users")
                .arg("XX")
                .arg(1)
                .arg(user)
                .exec(&mut self.valkey)
                .unwrap();
            // The next fetch shall look at what changed behind the functions' back.
            self.forget("next_at");
        }
        self.reference.window_passes(user);
        format!("window of {user:?} passes")
    }
}
