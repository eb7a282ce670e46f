"""Surveys at work: whom to ask now and why, what is answered, and what is made of it."""

from __future__ import annotations

from gateway.feedback.answers import Answered, AnswerProblem, check_answers, unchecked
from gateway.feedback.asking import Feedback
from gateway.feedback.choosing import CAP, Cap, Choice, choose
from gateway.feedback.eligibility import Ground, Grounds, Moment, Verdict, judged
from gateway.feedback.offers import Offer, Offers
from gateway.feedback.standing import Asked, Standing, heard

__all__ = [
    "CAP",
    "AnswerProblem",
    "Answered",
    "Asked",
    "Cap",
    "Choice",
    "Feedback",
    "Ground",
    "Grounds",
    "Moment",
    "Offer",
    "Offers",
    "Standing",
    "Verdict",
    "check_answers",
    "choose",
    "heard",
    "judged",
    "unchecked",
]
