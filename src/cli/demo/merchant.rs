//! The merchant of the demo: submits an application the way a merchant's own code does.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::domain::{MerchantNo, Secret, UserId};
use crate::outbound::{Client, ClientSettings, Post, PublicRoots};
use crate::signing::vexora;

/// Separates the parts of the form; nothing that is sent contains it.
const BOUNDARY: &str = "vexora-relay-demo-boundary";

/// A name in katakana, as the provider's example has one.
const FURIGANA: &str = "ヤマダ タロウ1";

/// Applies for users.
pub(super) struct Applicant {
    client: Client,
    base_url: String,
    callback_url: String,
}

impl Applicant {
    pub(super) fn new(base_url: String, callback_url: String) -> anyhow::Result<Self> {
        let client = Client::new(&ClientSettings::default(), &PublicRoots::load())?;
        Ok(Self {
            client,
            base_url,
            callback_url,
        })
    }

    /// kycApplyFor. Returns what the provider said.
    pub(super) async fn apply(
        &self,
        merchant: &MerchantNo,
        secret: &Secret,
        user: &UserId,
    ) -> anyhow::Result<String> {
        let timestamp = SystemClock.now().as_millis().to_string();
        let mut fields = vec![
            ("timestamp", timestamp.as_str()),
            ("userId", user.as_str()),
            ("callBackUrl", self.callback_url.as_str()),
            ("usernameFurigana", FURIGANA),
        ];
        let sign = vexora::sign(fields.iter().copied(), secret);
        fields.push(("sign", &sign));
        let post = Post {
            url: &format!("{}/v1/vexora/kycApplyFor", self.base_url),
            headers: vec![
                (
                    "content-type".into(),
                    format!("multipart/form-data; boundary={BOUNDARY}"),
                ),
                ("merchantNo".into(), merchant.to_string()),
            ],
            body: form(&fields).into_bytes(),
            timeout: Duration::from_secs(10),
            read_at_most: 4096,
        };
        let response = self.client.post(post).await?;
        let answer: serde_json::Value = serde_json::from_slice(&response.body)?;
        let at = |answer: &serde_json::Value, path| {
            answer
                .pointer(path)
                .and_then(|value| value.as_str())
                .unwrap_or("?")
                .to_owned()
        };
        anyhow::ensure!(
            at(&answer, "/code") == "0000",
            "Vexora declined: {}",
            at(&answer, "/msg")
        );
        Ok(format!(
            "accepted, status {}",
            at(&answer, "/data/authenticationStatus")
        ))
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    body
}
