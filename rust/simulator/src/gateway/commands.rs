//! What a ready client may ask for: op 3 presence, 4 voice, 8 members, 31 soundboard, 43 channel info.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::connection::Connection;
use crate::state::Session;
use crate::traffic::{BOT_ID, World};

/// Members of one `GUILD_MEMBERS_CHUNK`, and results of a query.
const CHUNK: usize = 1_000;
const QUERY_LIMIT: usize = 100;

/// Answers a command whose connection has a session.
pub(crate) fn run(connection: &Arc<Connection>, session: &Arc<Session>, op: i64, data: &Value) {
    match op {
        4 => voice(connection, session, data),
        8 => members(connection, session, data),
        31 => soundboard(session, data),
        43 => channel_info(connection, session, data),
        // 3: the record has it
        _ => {}
    }
}

fn snowflake(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn dispatch(session: &Session, event: &str, data: &Value) {
    session.dispatch(event, data.to_string().into_bytes().into());
}

fn voice(connection: &Connection, session: &Session, data: &Value) {
    let Some(guild) = snowflake(&data["guild_id"]) else {
        return connection.close(Some(4002), "Error while decoding payload.");
    };
    let state = json!({
        "user_id": BOT_ID.to_string(), "suppress": false, "session_id": format!("{:032x}", guild ^ 0x5eed),
        "self_video": data["self_video"].as_bool().unwrap_or_default(),
        "self_mute": data["self_mute"].as_bool().unwrap_or_default(),
        "self_deaf": data["self_deaf"].as_bool().unwrap_or_default(),
        "request_to_speak_timestamp": null, "mute": false, "guild_id": guild.to_string(), "deaf": false,
        "channel_id": data["channel_id"],
    });
    dispatch(session, "VOICE_STATE_UPDATE", &state);
    if !data["channel_id"].is_null() {
        let server = json!({"token": format!("{:016x}", guild ^ 0x70ce), "guild_id": guild.to_string(),
                            "endpoint": "rotterdam1.discord.example:443"});
        dispatch(session, "VOICE_SERVER_UPDATE", &server);
    }
}

fn members(connection: &Connection, session: &Session, data: &Value) {
    let common = &connection.common;
    let Some(guild) = snowflake(&data["guild_id"]) else {
        return connection.close(Some(4002), "Error while decoding payload.");
    };
    // a longer nonce is ignored, as Discord does
    let nonce = data["nonce"].as_str().filter(|nonce| nonce.len() <= 32);
    let query = data["query"].as_str();
    let limit = data["limit"].as_u64().unwrap_or_default() as usize;
    let all = query == Some("") && limit == 0;
    if all {
        let forced = connection.switches.borrow().limit_members.then_some(29.457);
        if let Some(wait) = forced.or_else(|| common.member_request_wait(guild)) {
            let mut meta = Map::from_iter([("guild_id".to_owned(), Value::from(guild.to_string()))]);
            if let Some(nonce) = nonce {
                meta.insert("nonce".to_owned(), nonce.into());
            }
            return dispatch(session, "RATE_LIMITED", &json!({"retry_after": wait, "opcode": 8, "meta": meta}));
        }
    }
    let Some(index) = common.world.guild_index(guild) else {
        // Discord says nothing about a guild that the bot is not in
        return;
    };
    let (found, mut not_found) = find(connection, index, data, all);
    let presences = data["presences"].as_bool().unwrap_or_default();
    let count = found.len().div_ceil(CHUNK).max(1);
    for at in 0..count {
        let chunk = &found[at * CHUNK..found.len().min((at + 1) * CHUNK)];
        let list =
            |item: &dyn Fn(usize) -> String| chunk.iter().map(|member| item(*member)).collect::<Vec<_>>().join(",");
        let mut text = format!(
            r#"{{"members":[{}],"guild_id":"{guild}","chunk_index":{at},"chunk_count":{count}"#,
            list(&|member| common.world.member(index, member))
        );
        if presences {
            let _ = write!(text, r#","presences":[{}]"#, list(&|member| World::presence(index, member)));
        }
        if at + 1 == count && !not_found.is_empty() {
            let _ = write!(text, r#","not_found":{}"#, Value::from(std::mem::take(&mut not_found)));
        }
        if let Some(nonce) = nonce {
            let _ = write!(text, r#","nonce":{}"#, Value::from(nonce));
        }
        text.push('}');
        session.dispatch("GUILD_MEMBERS_CHUNK", text.into_bytes().into());
    }
}

fn soundboard(session: &Session, data: &Value) {
    for id in data["guild_ids"].as_array().into_iter().flatten().filter_map(snowflake) {
        let sound = json!({"volume": 1.0, "user_id": (id + 7).to_string(), "sound_id": (id + 77).to_string(), "name": "quack 🦆",
                           "guild_id": id.to_string(), "emoji_name": "🦆", "emoji_id": null, "available": true});
        dispatch(session, "SOUNDBOARD_SOUNDS", &json!({"soundboard_sounds": [sound], "guild_id": id.to_string()}));
    }
}

fn channel_info(connection: &Connection, session: &Session, data: &Value) {
    let Some(guild) = snowflake(&data["guild_id"]) else {
        return connection.close(Some(4002), "Error while decoding payload.");
    };
    let channel = World::channel_id(guild, connection.common.world.channels - 1);
    let mut info = Map::from_iter([("id".to_owned(), Value::from(channel.to_string()))]);
    for field in data["fields"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        match field {
            "status" => info.insert(field.to_owned(), "watching otters".into()),
            "voice_start_time" => info.insert(field.to_owned(), 1_788_220_800_u64.into()),
            _ => None,
        };
    }
    dispatch(session, "CHANNEL_INFO", &json!({"guild_id": guild.to_string(), "channels": [info]}));
}

/// The numbers of the members that a request is for, and the ids that are nobody's.
fn find(connection: &Connection, index: usize, data: &Value, all: bool) -> (Vec<usize>, Vec<Value>) {
    let (common, query) = (&connection.common, data["query"].as_str());
    let limit = data["limit"].as_u64().unwrap_or_default() as usize;
    let total = common.config.members;
    let mut not_found = Vec::new();
    let found: Vec<usize> = match &data["user_ids"] {
        Value::Null if all => (0..total).collect(),
        Value::Null => {
            let prefix = query.unwrap_or_default().to_lowercase();
            let limit = if limit == 0 { QUERY_LIMIT } else { limit.min(QUERY_LIMIT) };
            (0..total)
                .filter(|member| common.world.member_name(index, *member).starts_with(&prefix))
                .take(limit)
                .collect()
        }
        ids => {
            let one = [ids.clone()];
            let ids = ids.as_array().map_or(&one[..], Vec::as_slice);
            let number = |id: &Value| {
                let wanted = snowflake(id)?;
                (0..total).find(|member| World::member_id(index, *member) == wanted)
            };
            ids.iter()
                .take(QUERY_LIMIT)
                .filter_map(|id| {
                    let member = number(id);
                    if member.is_none() {
                        not_found.push(id.clone());
                    }
                    member
                })
                .collect()
        }
    };
    (found, not_found)
}
