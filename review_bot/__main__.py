"""`python -m review_bot` is `autogate-bot`."""

from review_bot.main import main

main()
