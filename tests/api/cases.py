"""What the checks of both pages have in common."""

import unittest


class PageCase(unittest.TestCase):
    def assert_clean(self, browser, origin, refused=()):
        """The page made no mistake and asked nobody else. What is in its own text is no request.

        The console has an error for each refused call: `refused` are their statuses, in their order.
        """
        expected = [f"the server responded with a status of {status} " for status in refused]
        problems = browser.problems()
        self.assertEqual(len(problems), len(expected), problems)
        for problem, text in zip(problems, expected):
            self.assertIn(text, problem.get("text", "") if isinstance(problem, dict) else "", problems)
        others = [url for url in browser.requests() if not url.startswith((origin + "/", "data:"))]
        self.assertEqual(others, [])
