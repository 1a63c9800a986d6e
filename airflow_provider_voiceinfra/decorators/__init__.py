"""The decorators ``@task.voiceinfra_call`` and ``@task.voiceinfra_campaign``; never dial by themselves."""
