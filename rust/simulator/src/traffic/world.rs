//! The guilds, channels, roles and members that a simulated bot is in. Every id is computed from its number, none is stored.

use std::fmt::Write as _;

use fastrand::Rng;
use serde_json::{Value, json};

use super::text;

/// First guild's creation, in milliseconds of Discord's epoch; consecutive guilds fall on consecutive shards.
const GUILD_BASE: u64 = 160_000_000_000;
const MEMBER_BASE: u64 = 120_000_000_000;

/// The bot's own user and application id.
pub(crate) const BOT_ID: u64 = 503_316_480_000_000_001;

/// The guilds of one shard: of all, every `step`-th from number `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(super) first: u64,
    step: u64,
    pub(crate) guilds: u64,
    /// Guilds of all shards.
    pub(super) world: u64,
}

impl Share {
    /// The place among this share's events of event `number` of a stream that takes all guilds in turn; `None`: the event
    /// is for another shard.
    pub(super) fn place(&self, number: u64) -> Option<u64> {
        let at = (number % self.world.max(1)).checked_sub(self.first)?;
        (at % self.step == 0).then(|| number / self.world.max(1) * self.guilds + at / self.step)
    }

    /// The reverse.
    pub(super) fn number(&self, place: u64) -> u64 {
        let guilds = self.guilds.max(1);
        place / guilds * self.world + self.first + place % guilds * self.step
    }
}

/// Sizes of the simulated world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) guilds: usize,
    pub(crate) channels: usize,
    pub(crate) members: usize,
    pub(crate) seed: u64,
}

impl World {
    pub(crate) fn guild_id(index: usize) -> u64 {
        (GUILD_BASE + index as u64) << 22
    }

    /// The guild's number, if it is one of ours.
    pub(crate) fn guild_index(&self, id: u64) -> Option<usize> {
        let index = (id >> 22).checked_sub(GUILD_BASE)? as usize;
        (index < self.guilds && Self::guild_id(index) == id).then_some(index)
    }

    /// A channel lies a little above its guild; even ones are text channels, the last one is a voice channel.
    pub(crate) fn channel_id(guild: u64, channel: usize) -> u64 {
        guild + 1 + channel as u64
    }

    pub(crate) fn role_id(guild: u64, role: usize) -> u64 {
        guild + 10_001 + role as u64
    }

    pub(crate) fn member_id(guild_index: usize, member: usize) -> u64 {
        ((MEMBER_BASE + guild_index as u64 * 1_000_000 + member as u64) << 22) | 7
    }

    /// What one shard has; it costs the same for a thousand as for one.
    pub(crate) fn share(&self, (shard, count): (u64, u64)) -> Share {
        let (step, world) = (count.max(1), self.guilds as u64);
        let base = GUILD_BASE % step;
        let first = if shard >= base { shard - base } else { step - base + shard };
        Share { first, step, guilds: world.saturating_sub(first).div_ceil(step), world }
    }

    /// Guilds of one shard, in order.
    pub(crate) fn guilds_of(&self, shard: (u64, u64)) -> Vec<u64> {
        let owned = self.share(shard);
        (0..owned.guilds).map(|at| Self::guild_id((owned.first + at * owned.step) as usize)).collect()
    }

    fn rng(&self, what: u64) -> Rng {
        Rng::with_seed(self.seed ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A guild member, as JSON text.
    pub(crate) fn member(&self, guild_index: usize, member: usize) -> String {
        let id = Self::member_id(guild_index, member);
        let mut rng = self.rng(id);
        let guild = Self::guild_id(guild_index);
        let mut roles = String::new();
        for role in 0..rng.usize(0..4) {
            let _ = write!(roles, "{}\"{}\"", if role > 0 { "," } else { "" }, Self::role_id(guild, role * 2));
        }
        let nick = if rng.u8(0..4) == 0 { text::global_name(&mut rng) } else { "null".to_owned() };
        format!(
            r#"{{"user":{},"roles":[{roles}],"premium_since":null,"pending":false,"nick":{nick},"mute":false,"joined_at":"{}","flags":0,"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null}}"#,
            user(&mut rng, &id.to_string()),
            text::past(&mut rng),
        )
    }

    /// The user name of a member, for prefix queries.
    pub(crate) fn member_name(&self, guild_index: usize, member: usize) -> String {
        let value: Value = serde_json::from_str(&self.member(guild_index, member)).unwrap_or_default();
        value["user"]["username"].as_str().unwrap_or_default().to_owned()
    }

    /// A presence of a member, as in `GUILD_CREATE` and `GUILD_MEMBERS_CHUNK`.
    pub(crate) fn presence(guild_index: usize, member: usize) -> String {
        format!(
            r#"{{"user":{{"id":"{}"}},"status":"online","client_status":{{"web":"online"}},"activities":[]}}"#,
            Self::member_id(guild_index, member)
        )
    }

    /// The `d` of `GUILD_CREATE`.
    pub(crate) fn guild_create(&self, id: u64, members: usize) -> String {
        let index = self.guild_index(id).unwrap_or_default();
        let mut rng = self.rng(id);
        let members = members.min(self.members);
        let list = |items: Vec<String>| items.join(",");
        let roles = list(
            (0..12)
                .map(|role| {
                    let (role_id, name) =
                        if role == 0 { (id, "@everyone".to_owned()) } else { (Self::role_id(id, role - 1), format!("Role {role} ✦")) };
                    format!(
                        r#"{{"version":1788220800000,"unicode_emoji":null,"tags":{{}},"position":{role},"permissions":"2248473465835073","name":"{name}","mentionable":false,"managed":false,"id":"{role_id}","icon":null,"hoist":false,"flags":0,"colors":{{"tertiary_color":null,"secondary_color":null,"primary_color":{0}}},"color":{0}}}"#,
                        role * 111_111
                    )
                })
                .collect(),
        );
        let channels = list(
            (0..self.channels)
                .map(|channel| {
                    let voice = channel + 1 == self.channels && channel > 0;
                    let extra = if voice {
                        r#""user_limit":0,"type":2,"rtc_region":null,"bitrate":64000"#.to_owned()
                    } else {
                        format!(r#""type":0,"topic":{},"default_auto_archive_duration":4320"#, text::quote(&text::sentence(&mut rng, 6)))
                    };
                    format!(
                        r#"{{"version":1788220800000,{extra},"rate_limit_per_user":0,"position":{channel},"permission_overwrites":[],"parent_id":null,"nsfw":false,"name":"kanal-{channel}","last_message_id":null,"id":"{}","flags":0}}"#,
                        Self::channel_id(id, channel)
                    )
                })
                .collect(),
        );
        let member_list = list((0..members).map(|member| self.member(index, member)).collect());
        let presences = list((0..members).map(|member| Self::presence(index, member)).collect());
        let voice_states = if members > 0 && self.channels > 1 {
            format!(
                r#"{{"user_id":"{}","suppress":false,"session_id":"{}","self_video":false,"self_mute":true,"self_deaf":false,"request_to_speak_timestamp":null,"mute":false,"deaf":false,"channel_id":"{}"}}"#,
                Self::member_id(index, 0),
                text::hash(&mut rng),
                Self::channel_id(id, self.channels - 1)
            )
        } else {
            String::new()
        };
        format!(
            r#"{{"widget_enabled":false,"widget_channel_id":null,"voice_states":[{voice_states}],"version":1788220800000,"verification_level":2,"vanity_url_code":null,"unavailable":false,"threads":[],"system_channel_id":"{channel}","system_channel_flags":0,"stickers":[],"stage_instances":[],"splash":null,"soundboard_sounds":[],"safety_alerts_channel_id":null,"rules_channel_id":null,"roles":[{roles}],"region":"deprecated","public_updates_channel_id":null,"presences":[{presences}],"premium_tier":1,"premium_subscription_count":3,"premium_progress_bar_enabled":false,"preferred_locale":"en-US","owner_id":"{owner}","nsfw_level":0,"nsfw":false,"name":{name},"mfa_level":0,"members":[{member_list}],"member_count":{count},"max_video_channel_users":25,"max_stage_video_channel_users":50,"max_presences":null,"max_members":25000000,"large":{large},"joined_at":"2023-02-03T04:05:06.789000+00:00","incidents_data":null,"id":"{id}","icon":"{icon}","hub_type":null,"home_header":null,"guild_scheduled_events":[],"features":["COMMUNITY","NEWS","SOUNDBOARD"],"explicit_content_filter":2,"emojis":[],"discovery_splash":null,"description":null,"default_message_notifications":1,"channels":[{channels}],"banner":null,"application_id":null,"application_command_counts":{{}},"afk_timeout":300,"afk_channel_id":null}}"#,
            channel = Self::channel_id(id, 0),
            owner = Self::member_id(index, 0),
            name = text::quote(&format!("Guild {index} · 城 {}", text::username(&mut rng))),
            count = self.members,
            large = self.members > members,
            icon = text::hash(&mut rng),
        )
    }

    /// The bot's own user.
    pub(crate) fn bot_user() -> Value {
        json!({"verified": true, "username": "propylon", "mfa_enabled": true, "id": BOT_ID.to_string(), "global_name": null,
               "flags": 0, "email": null, "discriminator": "4242", "clan": null, "bot": true, "avatar": null})
    }
}

/// A user object, as JSON text; `id` may be a template's slot.
pub(super) fn user(rng: &mut Rng, id: &str) -> String {
    let decoration = if rng.u8(0..6) == 0 {
        format!(r#"{{"sku_id":"{}","expires_at":null,"asset":"a_{}"}}"#, text::user_id(rng), text::hash(rng))
    } else {
        "null".to_owned()
    };
    let clan = if rng.u8(0..8) == 0 {
        format!(
            r#"{{"tag":"{}","identity_guild_id":"{}","identity_enabled":true,"badge":"{}"}}"#,
            ["OWL", "狼", "GG", "N0PE"][rng.usize(..4)],
            text::user_id(rng),
            text::hash(rng)
        )
    } else {
        "null".to_owned()
    };
    format!(
        r#"{{"username":"{}","public_flags":{},"primary_guild":{clan},"id":"{id}","global_name":{},"display_name_styles":null,"discriminator":"0","collectibles":null,"clan":{clan},"avatar_decoration_data":{decoration},"avatar":{}}}"#,
        text::username(rng),
        [0, 0, 0, 64, 128, 4_194_304][rng.usize(..6)],
        text::global_name(rng),
        text::avatar(rng),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_the_guilds_that_the_rule_gives_to_its_shard() {
        let world = World { guilds: 2_003, channels: 1, members: 0, seed: 0 };
        for count in [1, 2, 7, 16, 1_000, 5_000] {
            let mut all = 0;
            for shard in 0..count {
                let expected: Vec<u64> =
                    (0..world.guilds).map(World::guild_id).filter(|id| (id >> 22) % count == shard).collect();
                assert_eq!(world.guilds_of((shard, count)), expected, "{shard}/{count}");
                assert_eq!(world.share((shard, count)).guilds, expected.len() as u64);
                all += expected.len();
            }
            assert_eq!(all, world.guilds);
        }
        assert_eq!(world.share((u64::MAX - 1, u64::MAX)).guilds, 0);
    }

    #[test]
    fn the_events_of_a_share_are_counted_without_a_gap() {
        let world = World { guilds: 23, channels: 1, members: 0, seed: 0 };
        for count in [1, 3, 7, 40] {
            for shard in 0..count {
                let share = world.share((shard, count));
                let numbers: Vec<u64> = (0..200)
                    .filter(|number| (World::guild_id((number % 23) as usize) >> 22) % count == shard)
                    .collect();
                let places: Vec<u64> = (0..200).filter_map(|number| share.place(number)).collect();
                assert_eq!(places, (0..numbers.len() as u64).collect::<Vec<_>>(), "{shard}/{count}");
                assert_eq!(places.iter().map(|place| share.number(*place)).collect::<Vec<_>>(), numbers);
            }
        }
    }
}
