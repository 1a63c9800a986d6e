"""What operators, sensors and the hook share: arguments, template fields, results; places no calls."""
