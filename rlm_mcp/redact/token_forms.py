"""Tokens that their makers give a form of their own: a beginning, an alphabet, a length.

The facts come from the sources that are named. Makers change them, so each source has a date.
"""

from __future__ import annotations

import re

from rlm_mcp.redact import checks
from rlm_mcp.redact.rules import Check, Rule, Source

GITLEAKS = Source("gitleaks b58d3f10", "MIT", "2026-07-22")
DETECT_SECRETS = Source("detect-secrets 5e14193", "Apache-2.0", "2026-04-02")
NOSEY_PARKER = Source("Nosey Parker 2e6e7f36", "Apache-2.0", "2026-02-21")
MAKER = Source("the prefix that the maker gives, not checked again", "", "2026-11-30")
OWN = Source("this project", "", "2026-11-30")

_ALNUM = r"(?![A-Za-z0-9])"
_WORD = r"(?![A-Za-z0-9_-])"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SIGNS = r"[A-Za-z0-9_.+/=-]{6}"
"""What follows a short beginning, so that few places are looked at."""


def _token(
    kind: str,
    maker: str,
    begin: str,
    tail: str,
    source: Source,
    *,
    check: Check | None = checks.is_filled,
    inside: bool = False,
    sign: str = "",
) -> Rule:
    form = f"{re.escape(begin)}{tail}"
    shape = form.removesuffix(_ALNUM).removesuffix(_WORD)
    sign = re.escape(begin) + sign
    return Rule(kind, maker, (begin,), form, source, shape, check=check, inside=inside, sign=sign)


def _before(kind: str, maker: str, back: int, form: str, mark: str, source: Source) -> Rule:
    """Return the rule of a token that is known by what stands `back` characters inside it."""
    shape = form.removesuffix(_ALNUM).removesuffix(_WORD)
    return Rule(
        kind, maker, (mark,), form, source, shape, check=checks.is_random_with_digits, back=back
    )


_RANDOM, _DIGITS = checks.is_random, checks.is_random_with_digits

TOKENS = (
    *(
        _token("aws-key", "AWS", begin, rf"[A-Z0-9]{{16}}{_ALNUM}", GITLEAKS, inside=True)
        for begin in ("AKIA", "ASIA", "ABIA", "ACCA")
    ),
    _token("bedrock-key", "AWS Bedrock", "ABSK", r"[A-Za-z0-9+/]{100,300}={0,2}", GITLEAKS,
           check=_RANDOM),
    _token("bedrock-key", "AWS Bedrock", "bedrock-api-key-", r"[A-Za-z0-9+/=_%-]{40,4000}",
           GITLEAKS, check=_RANDOM),
    _token("alibaba-key", "Alibaba Cloud", "LTAI", rf"[A-Za-z0-9]{{20}}{_ALNUM}", GITLEAKS,
           check=_RANDOM),
    _token("google-key", "Google", "AIza", rf"[A-Za-z0-9_-]{{35}}{_WORD}", GITLEAKS, check=None,
           inside=True),
    _token("google-token", "Google", "GOCSPX-", r"[A-Za-z0-9_-]{20,60}", MAKER, check=None),
    _token("google-token", "Google", "ya29.", r"[A-Za-z0-9_-]{20,500}", MAKER, check=None),
    _token("google-refresh-token", "Google", "1//0", r"[A-Za-z0-9_-]{35,250}", MAKER,
           check=_DIGITS, sign=r"[A-Za-z0-9_-]{9}"),
    Rule("azure-devops-token", "Azure DevOps", ("AZDO",), r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}",
         MAKER, "[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}", back=76, inside=True),
    _before("azure-ad-secret", "Microsoft Entra", 4,
            r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])", "Q~", GITLEAKS),
    _token("age-key", "age", "AGE-SECRET-KEY-1", r"[A-Z0-9]{50,70}", GITLEAKS, check=None,
           inside=True),
    *(
        _token("github-token", "GitHub", begin, r"[A-Za-z0-9]{36,255}", GITLEAKS, check=None,
               inside=True)
        for begin in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")
    ),
    _token("github-token", "GitHub", "github_pat_", r"[A-Za-z0-9_]{22,255}", GITLEAKS, check=None,
           inside=True),
    _token("gitlab-token", "GitLab", "glpat-", r"[A-Za-z0-9_.-]{20,320}", GITLEAKS, check=None,
           inside=True),
    *(
        _token("gitlab-token", "GitLab", begin, r"[A-Za-z0-9_.-]{20,1100}", source, check=_DIGITS)
        for begin, source in (
            ("gldt-", GITLEAKS), ("glrt-", GITLEAKS), ("glcbt-", GITLEAKS), ("glptt-", GITLEAKS),
            ("gloas-", GITLEAKS), ("glsoat-", GITLEAKS), ("glft-", GITLEAKS),
            ("glffct-", GITLEAKS), ("glimt-", DETECT_SECRETS), ("glagent-", DETECT_SECRETS),
            ("glrtr-", MAKER), ("GR1348941", DETECT_SECRETS),
        )
    ),
    _token("anthropic-key", "Anthropic", "sk-ant-", r"[A-Za-z0-9_-]{16,250}", GITLEAKS,
           check=checks.is_whole),
    _token("anthropic-key", "Anthropic", "sk-ant-", r"[a-z]{3,5}\d\d-[A-Za-z0-9_-]{16,250}",
           GITLEAKS, check=checks.is_whole, inside=True),
    _token("stripe-key", "Stripe, Clerk", "sk_live_", r"[A-Za-z0-9]{16,250}", GITLEAKS, check=None),
    _token("stripe-key", "Stripe, Clerk", "sk_test_", r"[A-Za-z0-9]{16,250}", GITLEAKS, check=None),
    _token("stripe-key", "Stripe", "rk_live_", r"[A-Za-z0-9]{16,250}", GITLEAKS, check=None),
    _token("stripe-key", "Stripe", "rk_test_", r"[A-Za-z0-9]{16,250}", GITLEAKS, check=None),
    _token("stripe-key", "Stripe, Svix", "whsec_", r"[A-Za-z0-9+/=]{16,250}", MAKER, check=None),
    _token("openai-key", "OpenAI and others", "sk-", r"(?:[a-z]{2,10}-)?[A-Za-z0-9_-]{20,250}",
           GITLEAKS, check=_DIGITS, sign=_SIGNS),
    *(
        _token("model-key", maker, begin, r"[A-Za-z0-9_-]{32,250}", source, check=_RANDOM)
        for begin, maker, source in (
            ("gsk_", "Groq", MAKER), ("xai-", "xAI", MAKER), ("nvapi-", "NVIDIA", MAKER),
            ("pplx-", "Perplexity", GITLEAKS), ("r8_", "Replicate", MAKER),
            ("jina_", "Jina", NOSEY_PARKER), ("tvly-", "Tavily", NOSEY_PARKER),
            ("pcsk_", "Pinecone", MAKER), ("tgp_v1_", "Together", MAKER),
        )
    ),
    _token("model-key", "Fireworks", "fw_", rf"[A-Za-z0-9]{{22,60}}{_WORD}", MAKER, check=_DIGITS,
           sign=r"[A-Za-z0-9]{8}"),
    _token("langsmith-key", "LangSmith", "lsv2_", r"(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}", MAKER),
    _token("huggingface-token", "Hugging Face", "hf_", r"[A-Za-z0-9]{30,60}(?![A-Za-z0-9_])",
           GITLEAKS, check=_RANDOM, sign=_SIGNS),
    _token("huggingface-token", "Hugging Face", "api_org_", rf"[A-Za-z]{{34}}{_WORD}", GITLEAKS,
           check=_RANDOM),
    *(
        _token("slack-token", "Slack", begin, r"[A-Za-z0-9.-]{10,250}", GITLEAKS, check=None)
        for begin in ("xoxa-", "xoxb-", "xoxc-", "xoxe-", "xoxe.xoxb-", "xoxe.xoxp-", "xoxo-",
                      "xoxp-", "xoxr-", "xoxs-", "xapp-")
    ),
    Rule(
        "slack-webhook", "Slack", ("hooks.slack.com/",),
        r"hooks\.slack\.com/(?:services|workflows|triggers)/"
        r"([A-Z0-9]{6,14}/[A-Z0-9]{6,20}/(?:[0-9]{6,24}/)?[A-Za-z0-9]{16,60})",
        GITLEAKS, "hooks.slack.com/(services, workflows, triggers)/T…/…/…",
    ),
    Rule(
        "discord-webhook", "Discord", ("discord.com/api/", "discordapp.com/api/"),
        r"discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/\d{15,22}/([A-Za-z0-9_-]{60,90})",
        MAKER, "discord.com/api/webhooks/<id>/…",
    ),
    Rule(
        "discord-token", "Discord",
        ("MD", "MT", "Mj", "Mz", "ND", "NT", "Nj", "Nz", "OD", "OT"),
        r"[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}" + _WORD,
        DETECT_SECRETS, check=_DIGITS, sign="(?:[MNO][DTjz][AEIMQUYcgk][wxyz0-5]){4}",
    ),
    Rule(
        "teams-webhook", "Microsoft Teams", (".webhook.office.com/",),
        rf"\.webhook\.office\.com/webhookb2/({_UUID}@{_UUID}/IncomingWebhook/[a-z0-9]{{32}}/{_UUID})",
        GITLEAKS, "<tenant>.webhook.office.com/webhookb2/…", inside=True,
    ),
    _token("twilio-key", "Twilio", "SK", rf"[0-9a-f]{{32}}{_WORD}", GITLEAKS, check=_DIGITS,
           sign=r"[0-9a-f]{8}"),
    _token("sendgrid-key", "SendGrid", "SG.", r"[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,50}",
           GITLEAKS, check=None, sign=_SIGNS),
    _token("mailgun-key", "Mailgun", "key-", rf"[0-9a-f]{{32}}{_WORD}", GITLEAKS,
           sign=r"[0-9a-f]{8}"),
    Rule("mailchimp-key", "Mailchimp", ("-us",), rf"[0-9a-f]{{32}}-us\d{{1,2}}{_WORD}", GITLEAKS,
         r"[0-9a-f]{32}-us\d{1,2}", back=32, sign=r"-us\d", check=_DIGITS),
    _token("brevo-key", "Brevo", "xkeysib-", r"[a-f0-9]{64}-[A-Za-z0-9]{16}", GITLEAKS),
    _token("brevo-key", "Brevo", "xsmtpsib-", r"[a-f0-9]{64}-[A-Za-z0-9]{16}", MAKER),
    _token("resend-key", "Resend", "re_", rf"[A-Za-z0-9]{{8}}_[A-Za-z0-9]{{24}}{_WORD}", MAKER,
           check=_DIGITS, sign=r"[A-Za-z0-9]{8}_"),
    _token("npm-token", "npm", "npm_", rf"[A-Za-z0-9]{{36}}{_ALNUM}", GITLEAKS, check=None,
           inside=True),
    _token("pypi-token", "PyPI", "pypi-AgE", r"[A-Za-z0-9_-]{40,1000}", DETECT_SECRETS, check=None),
    _token("rubygems-key", "RubyGems", "rubygems_", r"[a-f0-9]{48}", GITLEAKS, check=None),
    _token("crates-token", "crates.io", "cio", rf"[A-Za-z0-9]{{32}}{_WORD}", NOSEY_PARKER,
           check=checks.is_user, sign=r"[A-Za-z0-9]{16}"),
    _token("nuget-key", "NuGet", "oy2", rf"[a-z0-9]{{43}}{_WORD}", NOSEY_PARKER,
           check=_DIGITS, sign=r"[a-z0-9]{16}"),
    _token("clojars-token", "Clojars", "CLOJARS_", r"[a-z0-9]{60}", GITLEAKS),
    _token("docker-token", "Docker", "dckr_pat_", r"[A-Za-z0-9_-]{20,60}", MAKER, check=None),
    _token("docker-token", "Docker", "dckr_oat_", r"[A-Za-z0-9_-]{20,60}", MAKER, check=None),
    _token("artifactory-key", "Artifactory", "AKCp", rf"[A-Za-z0-9]{{69}}{_ALNUM}", GITLEAKS,
           check=_RANDOM),
    _token("artifactory-token", "Artifactory", "cmVmd", rf"[A-Za-z0-9]{{59}}{_ALNUM}", GITLEAKS,
           check=_RANDOM),
    _token("openshift-token", "OpenShift", "sha256~", rf"[A-Za-z0-9_-]{{43}}{_WORD}", GITLEAKS),
    _token("digitalocean-token", "DigitalOcean", "dop_v1_", r"[a-f0-9]{64}", GITLEAKS, check=None),
    _token("digitalocean-token", "DigitalOcean", "doo_v1_", r"[a-f0-9]{64}", GITLEAKS, check=None),
    _token("digitalocean-token", "DigitalOcean", "dor_v1_", r"[a-f0-9]{64}", GITLEAKS, check=None),
    _token("cloudflare-key", "Cloudflare", "v1.0-", r"[a-f0-9]{24}-[a-f0-9]{146}", GITLEAKS,
           sign=r"[a-f0-9]{8}"),
    _token("heroku-key", "Heroku", "HRKU-", r"[A-Za-z0-9_-]{36,80}", GITLEAKS),
    Rule("heroku-key", "Heroku", ("heroku",),
         r"heroku[\w.-]{0,30}[\"']?\s{0,4}[:=]\s{0,4}[\"']?" + f"({_UUID}){_WORD}", GITLEAKS,
         "a UUID behind a name with heroku", any_case=True, inside=True,
         sign=r"heroku[a-z0-9_.-]{0,30}[\"']?\s{0,4}[:=]"),
    _token("vercel-token", "Vercel", "vercel_blob_rw_", r"[A-Za-z0-9_]{30,80}", MAKER),
    *(
        _token("vercel-token", "Vercel", begin, rf"[A-Za-z0-9]{{24,80}}{_WORD}", MAKER,
               check=_RANDOM)
        for begin in ("vcp_", "vci_", "vca_", "vcr_", "vck_")
    ),
    _token("netlify-token", "Netlify", "nfp_", r"[A-Za-z0-9]{36,60}", MAKER, check=_RANDOM),
    _token("flyio-token", "Fly.io", "fo1_", rf"[A-Za-z0-9_-]{{43}}{_WORD}", GITLEAKS),
    *(
        _token("flyio-token", "Fly.io", begin, r"[A-Za-z0-9+/]{100,4000}={0,3}", GITLEAKS)
        for begin in ("fm1a_", "fm1r_", "fm2_")
    ),
    _token("scalingo-token", "Scalingo", "tk-us-", rf"[A-Za-z0-9_-]{{48}}{_WORD}", GITLEAKS),
    _token("supabase-key", "Supabase", "sbp_", r"(?:v0_)?[a-f0-9]{40}", MAKER),
    _token("supabase-key", "Supabase", "sb_secret_", r"[A-Za-z0-9_-]{20,80}", MAKER, check=_RANDOM),
    *(
        _token("planetscale-token", "PlanetScale", begin, r"[A-Za-z0-9_=.-]{32,64}", GITLEAKS,
               check=_RANDOM)
        for begin in ("pscale_tkn_", "pscale_pw_", "pscale_oauth_")
    ),
    _token("neon-key", "Neon", "napi_", rf"[a-z0-9]{{60,80}}{_WORD}", MAKER, check=_DIGITS),
    _token("databricks-token", "Databricks", "dapi", r"[a-f0-9]{32}(?:-\d)?" + _ALNUM, GITLEAKS,
           check=_DIGITS, sign=r"[a-f0-9]{8}"),
    _token("clickhouse-key", "ClickHouse Cloud", "4b1d", rf"[A-Za-z0-9]{{38}}{_WORD}", GITLEAKS,
           check=checks.is_user, sign=r"[A-Za-z0-9]{16}"),
    _token("vault-token", "HashiCorp Vault", "hvs.", r"[A-Za-z0-9_-]{24,250}", GITLEAKS,
           check=_RANDOM),
    _token("vault-token", "HashiCorp Vault", "hvb.", r"[A-Za-z0-9_-]{24,350}", GITLEAKS,
           check=_RANDOM),
    _token("vault-token", "HashiCorp Vault", "hvr.", r"[A-Za-z0-9_-]{24,250}", MAKER,
           check=_RANDOM),
    _before("terraform-token", "HCP Terraform", 14,
            r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}", ".atlasv1.", GITLEAKS),
    _token("pulumi-token", "Pulumi", "pul-", rf"[a-f0-9]{{40}}{_WORD}", GITLEAKS,
           sign=r"[a-f0-9]{8}"),
    _token("infracost-key", "Infracost", "ico-", rf"[A-Za-z0-9]{{32}}{_WORD}", GITLEAKS,
           check=_RANDOM, sign=r"[A-Za-z0-9]{16}"),
    *(
        _token("doppler-token", "Doppler", begin,
               r"(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}" + _ALNUM, NOSEY_PARKER, check=_RANDOM)
        for begin in ("dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit.")
    ),
    _token("onepassword-token", "1Password", "ops_", r"eyJ[A-Za-z0-9+/_-]{200,4000}={0,3}",
           GITLEAKS),
    _token("onepassword-key", "1Password", "A3-",
           r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}" + _WORD,
           GITLEAKS, check=_DIGITS, sign=r"[A-Z0-9]{6}-"),
    *(
        _token("tailscale-key", "Tailscale", begin, r"[A-Za-z0-9]{8,24}-[A-Za-z0-9]{16,64}", MAKER,
               check=_RANDOM)
        for begin in ("tskey-auth-", "tskey-api-", "tskey-client-", "tskey-scim-", "tskey-webhook-")
    ),
    _token("grafana-token", "Grafana", "glsa_", r"[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}", GITLEAKS),
    _token("grafana-token", "Grafana", "glc_", r"[A-Za-z0-9+/]{32,400}={0,3}", GITLEAKS,
           check=_RANDOM),
    _token("grafana-token", "Grafana", "eyJrIjoi", r"[A-Za-z0-9]{70,400}={0,3}", GITLEAKS),
    _token("sentry-token", "Sentry", "sntrys_", r"eyJ[A-Za-z0-9+/=_]{40,500}", GITLEAKS),
    _token("sentry-token", "Sentry", "sntryu_", r"[a-f0-9]{64}", GITLEAKS),
    _token("newrelic-key", "New Relic", "NRAK-", rf"[A-Z0-9]{{27}}{_WORD}", GITLEAKS),
    _token("newrelic-key", "New Relic", "NRII-", rf"[A-Za-z0-9_-]{{32}}{_WORD}", GITLEAKS,
           check=_DIGITS),
    _token("dynatrace-token", "Dynatrace", "dt0c01.", r"[A-Z0-9]{24}\.[A-Z0-9]{64}", GITLEAKS),
    _token("sonar-token", "Sonar", "squ_", rf"[a-f0-9]{{40}}{_WORD}", GITLEAKS),
    _token("sonar-token", "Sonar", "sqp_", rf"[a-f0-9]{{40}}{_WORD}", GITLEAKS),
    _token("sonar-token", "Sonar", "sqa_", rf"[a-f0-9]{{40}}{_WORD}", GITLEAKS),
    _token("sourcegraph-token", "Sourcegraph", "sgp_",
           r"(?:(?:[a-fA-F0-9]{16}|local)_)?[a-fA-F0-9]{40}", GITLEAKS),
    _token("circleci-token", "CircleCI", "CCIPAT_", r"[A-Za-z0-9]{16,30}_[a-f0-9]{40}", MAKER),
    _token("circleci-token", "CircleCI", "CCIPRJ_", r"[A-Za-z0-9]{16,30}_[a-f0-9]{40}", MAKER),
    _token("prefect-token", "Prefect", "pnu_", rf"[A-Za-z0-9]{{36}}{_WORD}", GITLEAKS,
           check=_RANDOM),
    _token("octopus-key", "Octopus Deploy", "API-", rf"[A-Z0-9]{{26}}{_WORD}", GITLEAKS,
           check=_DIGITS, sign=r"[A-Z0-9]{16}"),
    _token("harness-token", "Harness", "pat.",
           r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}" + _WORD, GITLEAKS, check=_DIGITS,
           sign=r"[A-Za-z0-9_-]{8}"),
    _token("notion-token", "Notion", "ntn_", rf"[A-Za-z0-9]{{40,60}}{_WORD}", GITLEAKS),
    _token("notion-token", "Notion", "secret_", rf"[A-Za-z0-9]{{43}}{_WORD}", MAKER, check=_DIGITS,
           sign=r"[A-Za-z0-9]{16}"),
    _token("figma-token", "Figma", "figd_", r"[A-Za-z0-9_-]{36,60}", MAKER, check=_RANDOM),
    _token("postman-key", "Postman", "PMAK-", r"[A-Za-z0-9]{24}-[A-Za-z0-9]{34}", NOSEY_PARKER),
    _token("linear-key", "Linear", "lin_api_", r"[A-Za-z0-9]{32,60}", GITLEAKS, check=None),
    *(
        _token("atlassian-token", "Atlassian", begin, r"[A-Za-z0-9_=-]{60,260}", GITLEAKS,
               check=_RANDOM)
        for begin in ("ATATT3", "ATCTT3", "ATSTT3")
    ),
    _token("bitbucket-token", "Bitbucket", "ATBB", rf"[A-Za-z0-9]{{32}}{_WORD}", NOSEY_PARKER,
           check=_RANDOM),
    _token("trello-token", "Trello", "ATTA", rf"[A-Za-z0-9]{{60,80}}{_WORD}", MAKER,
           check=_RANDOM),
    Rule("airtable-token", "Airtable", ("pat",), rf"pat[A-Za-z0-9]{{14}}\.[a-f0-9]{{64}}{_WORD}",
         GITLEAKS, r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}", sign=r"pat[A-Za-z0-9]{14}\."),
    _token("typeform-token", "Typeform", "tfp_", r"[A-Za-z0-9_.=-]{59}", GITLEAKS),
    _token("frameio-token", "Frame.io", "fio-u-", r"[A-Za-z0-9_=-]{64}", GITLEAKS),
    _token("readme-token", "ReadMe", "rdme_", r"[a-z0-9]{70}", GITLEAKS),
    _token("dropbox-token", "Dropbox", "sl.", r"[A-Za-z0-9_=-]{130,1200}", GITLEAKS, check=_RANDOM,
           sign=r"[A-Za-z0-9_=-]{16}"),
    _token("adobe-secret", "Adobe", "p8e-", rf"[A-Za-z0-9]{{32}}{_WORD}", GITLEAKS, check=_RANDOM),
    *(
        _token("shopify-token", "Shopify", begin, r"[a-fA-F0-9]{32}", GITLEAKS, check=None)
        for begin in ("shpat_", "shpca_", "shppa_", "shpss_")
    ),
    _token("square-token", "Square", "sq0atp-", r"[A-Za-z0-9_-]{22}", GITLEAKS),
    _token("square-token", "Square", "sq0csp-", r"[A-Za-z0-9_-]{43}", DETECT_SECRETS),
    _token("square-token", "Square", "EAAA", rf"[A-Za-z0-9_-]{{58,62}}{_WORD}", GITLEAKS,
           check=_DIGITS, sign=r"[A-Za-z0-9_-]{16}"),
    _token("facebook-token", "Meta", "EAAM", r"[A-Za-z0-9]{100,400}", GITLEAKS),
    _token("facebook-token", "Meta", "EAAC", r"[A-Za-z0-9]{100,400}", GITLEAKS),
    _token("easypost-key", "EasyPost", "EZAK", rf"[A-Za-z0-9]{{54}}{_WORD}", GITLEAKS),
    _token("easypost-key", "EasyPost", "EZTK", rf"[A-Za-z0-9]{{54}}{_WORD}", GITLEAKS),
    _token("shippo-token", "Shippo", "shippo_live_", r"[a-fA-F0-9]{40}", GITLEAKS),
    _token("shippo-token", "Shippo", "shippo_test_", r"[a-fA-F0-9]{40}", GITLEAKS),
    _token("duffel-token", "Duffel", "duffel_live_", r"[A-Za-z0-9_=-]{43}", GITLEAKS),
    _token("duffel-token", "Duffel", "duffel_test_", r"[A-Za-z0-9_=-]{43}", GITLEAKS),
    _token("flutterwave-key", "Flutterwave", "FLWSECK", r"(?:_TEST)?-[a-z0-9]{12,40}(?:-X)?",
           GITLEAKS),
    Rule("maxmind-key", "MaxMind", ("_mmk",), rf"[A-Za-z0-9]{{6}}_[A-Za-z0-9]{{29}}_mmk{_WORD}",
         GITLEAKS, "[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk", back=36, check=_DIGITS),
    Rule("telegram-token", "Telegram", (":AA",),
         rf"(?<=\d{{8}}):(AA[A-Za-z0-9_-]{{32,40}}){_WORD}", DETECT_SECRETS,
         r"\d{8,10}:AA[A-Za-z0-9_-]{32,40}", check=_RANDOM, inside=True),
    _token("yandex-key", "Yandex Cloud", "AQVN", rf"[A-Za-z0-9_-]{{35,38}}{_WORD}", GITLEAKS,
           check=_RANDOM),
    Rule(
        "jwt", "JSON Web Token", ("eyJ",),
        r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,2000}", GITLEAKS,
        "eyJ….eyJ….…", sign=r"eyJ[A-Za-z0-9_-]{8}",
    ),
)  # fmt: skip
"""The forms of secrets that are known by their first characters, or by a mark inside."""
