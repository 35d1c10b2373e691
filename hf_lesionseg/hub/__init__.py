"""The way to the Hub: the model card, the remote code and the upload.

:func:`hf_lesionseg.hub.publish.publish`, :func:`hf_lesionseg.hub.model_card.write_model_card`,
:func:`hf_lesionseg.hub.remote_code.add_remote_code` and :func:`hf_lesionseg.hub.remote_code.check_remote_code`.
"""
