"""From settings to what `decide` needs to know of them."""

from autogate.settings import Bot, Repository
from review_bot.domain.model import Policy


def policy(repository: Repository, bot: Bot) -> Policy:
    """Return a repository's policy."""
    return Policy(
        targets=repository.targets,
        required_builders=repository.required_builders,
        reviewers=repository.review.reviewers,
        try_users=repository.review.try_users,
        batch_max=repository.batch.max,
        timeout=repository.gate.timeout,
        infrastructure_retries=repository.gate.infrastructure_retries,
        ask_interval=repository.gate.ask_interval,
        poll_interval=repository.poll_interval,
        bot=bot.name,
        comments=repository.forge != "git",
    )
