"""The schema: how a database is brought to `sql/migrations`, and taken back.

`migrate` is what others call; dbmate sends the files. For the Supabase CLI they are exported.
"""
